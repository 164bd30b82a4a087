// Shows what /api/events tells: the whole status, once a second. Everything from
// outside is set as text, never as HTML.
'use strict';

const at = id => document.getElementById(id);
const number = n => Math.round(n).toLocaleString('en');
const show = (id, text) => { const e = at(id); if (e.textContent !== text) e.textContent = text; };

// age of a time at the replica's own clock.
let now = 0;
const age = time => time ? span((now - Date.parse(time)) / 1000) : '';
const span = s => {
  s = Math.max(0, Math.round(s));
  if (s < 120) return s + ' s';
  if (s < 7200) return Math.round(s / 60) + ' min';
  if (s < 172800) return Math.round(s / 3600) + ' h';
  return Math.round(s / 86400) + ' days';
};
const ago = time => time ? age(time) + ' ago' : '';
const until = time => time ? 'in ' + span((Date.parse(time) - now) / 1000) : '';

// fill makes a table's body show rows, each a list of cells: a text, or
// {text, c} with a class. The first cell names the row. Cells that are the
// same are left alone, so that a selection survives.
function fill(id, rows) {
  const body = at(id);
  while (body.rows.length > rows.length) body.deleteRow(-1);
  rows.forEach((cells, r) => {
    const tr = body.rows[r] || body.insertRow();
    cells.forEach((cell, c) => {
      let td = tr.cells[c];
      if (!td) {
        td = document.createElement(c === 0 ? 'th' : 'td');
        if (c === 0) td.scope = 'row';
        tr.append(td);
      }
      const text = String(cell?.text ?? cell ?? ''), name = cell?.c ?? '';
      if (td.textContent !== text) td.textContent = text;
      if (td.className !== name) td.className = name;
    });
  });
}
const n = x => ({text: number(x), c: 'n'});
const bad = (text, when) => ({text, c: when ? 'bad' : ''});

// A long table shows its first rows until it is asked for all.
const few = 50, whole = new Set();
function fillLong(id, rows) {
  const more = at(id + '-more');
  fill(id, whole.has(id) ? rows : rows.slice(0, few));
  more.hidden = rows.length <= few;
  more.textContent = whole.has(id) ? 'Show the first ' + few : 'Show all ' + number(rows.length);
}
for (const id of ['subs', 'parts', 'camps']) {
  at(id + '-more').addEventListener('click', () => {
    whole.has(id) ? whole.delete(id) : whole.add(id);
    if (last) render(last);
  });
}
at('filter').addEventListener('input', () => { if (last) render(last); });

const statuses = [['cancelled', 'cancelled'], ['not_cancelled', 'notCancelled'], ['failed', 'failed'], ['duplicate', 'duplicate'], ['expired', 'expired'], ['rejected', 'rejected']];

let last = null;
function render(s) {
  last = s;
  now = Date.parse(s.time);
  show('version', s.version);
  document.title = (s.ready ? '' : 'not ready: ') + 'smscancel ' + s.instance;
  const parts = s.partitions, topics = new Map();
  for (const p of parts) topics.set(p.topic, [...(topics.get(p.topic) || []), p.partition]);
  show('scope', 'This page speaks for replica ' + s.instance + ', which has ' + (parts.length === 0 ? 'no partition' :
    [...topics].map(([topic, list]) => topic + ' ' + list.join(', ')).join('; ')) + '.');

  const alarms = [];
  if (!s.ready) alarms.push('Not ready: ' + s.reason);
  if (s.operator.pausedAll) alarms.push('Everything is paused, for ' + age(s.operator.pausedAll) + ' now.');
  if (s.operator.error) alarms.push('The configuration file cannot be used, older settings are in force: ' + s.operator.error);
  const box = at('alarms');
  if (box.dataset.text !== alarms.join('\n')) {
    box.dataset.text = alarms.join('\n');
    box.replaceChildren(...alarms.map(text => Object.assign(document.createElement('p'), {className: 'alarm', textContent: text})));
  }

  const sum = f => parts.reduce((a, p) => a + f(p), 0);
  const rates = s.outcomes.perSecond, recent = rates.slice(-10);
  show('rate', number(recent.reduce((a, b) => a + b, 0) / recent.length));
  show('calls', number(s.destination.rateUsed));
  show('inflight', number(s.subAccounts.reduce((a, b) => a + b.inFlight, 0)));
  show('inhand', number(sum(p => p.inHand)));
  show('lag', number(sum(p => p.lag)));
  show('oldest', s.oldest ? age(s.oldest.timestamp) : '–');
  show('oldest-why', s.oldest ? `${s.oldest.topic}/${s.oldest.partition} offset ${s.oldest.offset}${s.oldest.subAccountId ? ' of ' + s.oldest.subAccountId : ''} waits for: ${s.oldest.waitsFor || 'its turn'}` : '');
  const top = Math.max(1, ...rates);
  at('spark-line').setAttribute('d', rates.map((v, i) => `${i ? 'L' : 'M'}${(i * 600 / (rates.length - 1)).toFixed(1)} ${(58 - v * 56 / top).toFixed(1)}`).join(''));
  show('spark-max', number(Math.max(...rates)));
  at('replay').hidden = !s.replay;
  if (s.replay) {
    at('replay-bar').value = s.replay.total ? s.replay.read / s.replay.total : 0;
    show('replay-text', `${number(s.replay.read)} of ${number(s.replay.total)} records`);
  }

  const o = s.outcomes;
  show('since', new Date(o.since).toISOString().slice(0, 19).replace('T', ' ') + ' UTC');
  fill('totals', [...statuses.map(([name, field]) => [name, n(o.total[field])]), ['of these ambiguous', n(o.total.ambiguous)]]);

  const door = (name, d) => [name, bad(d.state + (d.reason ? ': ' + d.reason : ''), d.state !== 'open'), ago(d.since), d.pausedUntil ? 'pause ends ' + until(d.pausedUntil) : until(d.nextProbe),
    n(d.rateUsed), d.rateAllowed ? n(d.rateAllowed) : {text: 'no limit', c: 'n'}];
  const held = d => d.state !== 'open' || d.operatorPause || d.paused > 0;
  const subs = [...s.subAccounts].sort((a, b) => held(b) - held(a) || b.waiting - a.waiting || (a.subAccountId < b.subAccountId ? -1 : 1));
  fillLong('subs', [
    [...door('all together', s.destination), n(s.subAccounts.reduce((a, b) => a + b.inFlight, 0)), n(s.subAccounts.reduce((a, b) => a + b.waiting, 0)), n(s.operator.waiting), ''],
    ...subs.map(d => [...door(d.subAccountId, d.operatorPause ? {...d, state: 'paused by the operator', since: d.operatorPause} : d), n(d.inFlight), n(d.waiting), n(d.paused), age(d.oldest)])]);

  fillLong('parts', parts.map(p => [p.topic + '/' + p.partition, bad([p.state, p.reason, p.fetchStopped && 'fetches nothing: ' + p.fetchStopped].filter(Boolean).join(': '), p.state !== 'running' || p.reason || p.fetchStopped),
    n(p.lag), age(p.oldest), n(p.inHand), n(p.dedupe)]));

  const wanted = at('filter').value.toLowerCase();
  const counts = c => [...statuses.map(([, field]) => n(c[field])), n(c.ambiguous)];
  fillLong('camps', [...o.campaigns.filter(c => c.campaignId.toLowerCase().includes(wanted)).map(c => [c.campaignId || 'none', ...counts(c), ago(c.last)]),
    ...(o.other ? [['other', ...counts(o.other), '']] : [])]);

  const op = s.operator, list = (what, l) => [...l.newest.map(h => [what, h.id, ago(h.since)]), ...(l.total > l.newest.length ? [[what, `and ${number(l.total - l.newest.length)} more`, '']] : [])];
  fill('held', [...(op.pausedAll ? [['paused', 'everything', ago(op.pausedAll)]] : []), ...list('paused sub-account', op.pausedSubAccounts),
    ...list('paused campaign', op.pausedCampaigns), ...list('withdrawn campaign', op.withdrawnCampaigns)]);
  show('config', 'Settings in force since ' + ago(op.loaded) + '.');

  fill('errors', s.errors.map(e => [ago(e.time), e.subAccountId, e.kind, {text: e.httpStatus || '', c: 'n'}, {text: e.code ?? '', c: 'n'}, e.errorId, e.message]));
}

function tell(text, name) {
  const state = at('state');
  if (state.textContent !== text) state.textContent = text;
  state.className = name;
}

// The browser connects again by itself; only a refusal ends that.
function connect() {
  const events = new EventSource('api/events');
  events.onmessage = event => {
    const s = JSON.parse(event.data);
    tell(s.ready ? 'live, ready' : 'live, not ready', s.ready ? 'good' : 'bad');
    render(s);
  };
  events.onerror = () => {
    tell('no connection to the replica; these numbers are old', 'bad');
    if (events.readyState === EventSource.CLOSED) setTimeout(connect, 5000);
  };
}
connect();
