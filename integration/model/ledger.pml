/* The protocol of one request partition: takeover, ledger, lease, commit, drain.
 *
 * Two workers, three requests, the third a duplicate of the first. A worker may
 * die at every step, or stand still as long as it likes (a zombie: it is just not
 * scheduled); at every step the group may give the partition to anybody, or to
 * nobody; every answer may be lost. From the last generation on there are no more
 * faults. README.md says what is left out, what was measured, and why one
 * partition speaks for any number of them.
 *
 * A step is one exchange with a broker or with the API; its comment names the
 * code. There is no time: what the code does within a time-out may happen here
 * at any later moment, with one exception (capLease).
 */
#ifndef GENERATIONS
#define GENERATIONS 3	/* of the group */
#endif
#ifndef TAKEOVERS
#define TAKEOVERS 2	/* fences while there are faults */
#endif
#ifndef FAULTS
#define FAULTS 1	/* deaths, failures, drains, lost answers; zombies and rebalances are free */
#endif
#ifndef GROUPS
#define GROUPS 1	/* 2: each worker is alone in a group of its own, with commits of its own */
#endif

/* What can be left out on purpose, by -DDEFECT=…: each must break a promise. */
#ifndef DEFECT
#define DEFECT 0
#endif
#define IF(defect) (DEFECT == defect)
#define NO_FENCE 1		/* the partition's leader takes batches of every epoch */
#define NO_MARKER 2		/* no empty transaction: the partition learns an epoch by its first batch */
#define NO_BARRIER 3		/* the marker is not waited for */
#define NO_REPLAY 4		/* what stands in the ledger is not looked at */
#define NO_LEASE 5		/* nobody is told what may have been called */
#define NO_PERMIT 6		/* a call does not wait until its lease is durable */
#define NO_GAP 7		/* a lease is trusted whoever came between */
#define NO_LEASE_CAP 8		/* an inherited lease is never capped */
#define CAP_AT_TAKEOVER 9	/* an inherited lease is capped at once */
#define TRIM_INHERITED 10	/* a clean stop trims what it inherited, too */
#define NO_CHECK 11		/* a new generation does not look whether others have committed */
#define OVERTAKEN 12		/* a takeover goes on from the commit of a later one */
#define TAKE_EARLY 13		/* requests are taken in hand before a commit stands */
#define DRAIN_COMMITS 14	/* a drained session commits although another member was given the partition */
#define COMMIT_EARLY 15		/* the watermark passes requests in hand */
#define NEW_SEQUENCE 16		/* a batch of unknown end is sent again as a new one */
#define NO_TURN 17		/* a duplicate does not wait for the first */
#define STAY 18			/* a commit of unknown end does not end the generation */
#define NO_NEWS 19		/* an own lease within the inherited one is not committed */

#define LOG 2		/* requests in the log at the start; the last one comes at any time */
#define REQUESTS 3	/* of the messages a, b, a */
#define NOBODY 2
#define GONE 2
#define UNKNOWN 7	/* a lease that nobody can tell: any request may have been called */

/* A commit of the group: epoch of its writer, offset, and lease, as the number
 * of requests that may have been called. 0: there is none. See metadata.go. */
#define COMMIT(e, o, l) ((e) << 5 | (o) << 3 | (l))
#define EPOCH(c) ((c) >> 5)
#define OFFSET(c) ((c) >> 3 & 3)
#define LEASE(c) ((c) & 7)
#define MIN(a, b) ((a) < (b) -> (a) : (b))
#define MAX(a, b) ((a) > (b) -> (a) : (b))
#define BIT(n) (1 << (n))

mtype = { idle, confirmed, initialised, ended, fenced, running, draining };

#define UNSEEN 0	/* a request in a session: not taken yet */
#define HAND 1		/* taken, no call is out */
#define SENT 2		/* called, no answer yet */
#define UNACKED 3	/* its outcome stands in the ledger, and the session does not know */
#define DONE 4		/* its outcome is durable, and the session knows */

typedef Outcome {
	byte epoch;		/* of its writer; 0: there is no outcome */
	bool sound;		/* nothing can contradict it: cancelled, or marked ambiguous */
	bool answers		/* it answers duplicates */
};

typedef Worker {
	mtype at;		/* of its hold on the partition: hold.go */
	byte generation;	/* of the group, as far as it knows */
	bool mine;		/* it was given the partition in it */
	bool moved;		/* another member was since: what balancer.go and hold.lapsed see to */
	bool serving;		/* it can commit: group.go serve */
	byte idles;		/* epochs under which it called nothing: hold.idle */

	byte epoch;		/* of its fence */
	byte read;		/* the commit that it found, until its own is acknowledged */
	bool established;	/* it is */
	byte inherited;		/* lease found at the takeover: lease.go */
	byte asked, held;	/* own lease: to be made durable next, and durable */
	byte cap;		/* end of the log when the inherited lease was capped; 0: it was not */
	bool stale;		/* nothing has confirmed its hold for a session timeout: permit.go */
	bool known;		/* the index has an answer for message a */
	byte next;		/* request to take next */
	byte job[REQUESTS];
	bool open[REQUESTS]	/* a call may have had an effect that nobody was told of */
};

Worker worker[2];
Outcome outcome[REQUESTS];	/* the ledger */
byte highest;			/* producer epoch that stands in the outcome partition */
byte coordinator;		/* producer epoch at the transaction coordinator */
byte marker;			/* epoch whose marker is on its way into the partition; 0: none */
byte commit[GROUPS];		/* of each group */
byte flight, own, sender;	/* a commit on its way, how far it lets its session call, whose it is */
byte generation, owner;		/* of the group, and the partition's in it */
byte end = LOG;			/* of the request partition */
bool calm;			/* faults have stopped */
byte faults = FAULTS;		/* how many may still come */
byte called[REQUESTS];		/* without an outcome yet: whose calls may have had an effect */

#define FAULT faults > 0 -> faults--
#define me worker[w]
#define store commit[w % GROUPS]
#define OWNS(w) (owner == w || GROUPS == 2)
#define JOB me.job[r]
#define BEFORE(r) (!IF(NO_REPLAY) && outcome[r].epoch != 0 && outcome[r].epoch < me.epoch)
#define BUSY(r) (me.job[r] == SENT || me.job[r] == UNACKED)
#define DRAINED (me.at == draining && !BUSY(0) && !BUSY(1) && !BUSY(2))
#define BELOW(r) (me.next > r && me.job[r] != DONE && !(IF(COMMIT_EARLY) && me.job[r] == SENT))
#define WATERMARK (BELOW(0) -> 0 : (BELOW(1) -> 1 : (BELOW(2) -> 2 : me.next)))
#define OPEN(r) (me.job[r] == HAND && me.open[r])
#define TRIMMED (OPEN(2) -> 3 : (OPEN(1) -> 2 : (OPEN(0) -> 1 : 0)))
#define LEASED (DRAINED && IF(TRIM_INHERITED) -> TRIMMED : MAX(me.inherited, (DRAINED -> TRIMMED : me.asked)))
#define DRAFT COMMIT(me.epoch, WATERMARK, LEASED)
#define NEWS (!me.established || DRAFT != store || me.asked > me.held && !IF(NO_NEWS))
#define IN_GROUP (me.generation == generation)
#define MAY_COMMIT (me.mine && me.at == running || me.at == draining && (!me.moved || IF(DRAIN_COMMITS)))

/* The session is over; what it has called stays called. */
inline forget(w) {
	gone(w, 0); gone(w, 1); gone(w, 2);
	me.at = idle; me.moved = false; me.epoch = 0; me.read = 0; me.established = false; me.inherited = 0;
	me.asked = 0; me.held = 0; me.cap = 0; me.stale = false; me.known = false; me.next = 0
}
inline gone(w, r) {
	called[r] = (called[r] & BIT(w) -> (called[r] & ~BIT(w)) | BIT(GONE) : called[r]);
	JOB = UNSEEN; me.open[r] = false
}

/* takeover.go run, hold.go end: it failed, or drained in vain. Without a commit of its own it has called nothing. */
#define FENCED (me.at == fenced || me.at == running || me.at == draining)
inline fail(w) {
	me.idles = (FENCED && !me.established -> me.idles | BIT(me.epoch) : me.idles);
	forget(w)
}

/* group.go serve and assign, hold.go check, session.go stillOurs: a new generation. */
inline serve(w) {
	me.generation = generation; me.serving = true; me.mine = OWNS(w); me.moved = me.moved && !me.mine;
	if
	:: (me.at == running || me.at == draining) && EPOCH(store) != me.epoch && (me.established || store != me.read) && !IF(NO_CHECK) -> fail(w)
	:: else
	fi;
	if
	:: !me.mine && me.at == running -> me.at = draining
	:: !me.mine && me.at != running && me.at != draining -> fail(w)
	:: else
	fi
}

/* takeover.go inspect and inherit; whether other epochs came between the commit's and ours. */
#define BETWEEN ((BIT(me.epoch) - BIT(EPOCH(store) + 1)) & ~me.idles)
inline inspect(w) {
	me.read = store; me.next = OFFSET(store);
	me.inherited = (IF(NO_LEASE) -> 0 : (BETWEEN == 0 || IF(NO_GAP) -> LEASE(store) : UNKNOWN));
	me.inherited = (IF(CAP_AT_TAKEOVER) -> MIN(me.inherited, end) : me.inherited);
	/* replay.go: before the own marker stand the outcomes of all epochs before, and no others */
	me.job[0] = (me.next > 0 || BEFORE(0) -> DONE : UNSEEN);
	me.job[1] = (me.next > 1 || BEFORE(1) -> DONE : UNSEEN);
	me.job[2] = (me.next > 2 || BEFORE(2) -> DONE : UNSEEN);
	me.known = BEFORE(0) && outcome[0].answers;
	me.at = running;
#if IF(TAKE_EARLY)
	fetch(w)
#endif
}

/* fetch.go: what is in the log is taken, in its order; what has an outcome is skipped. */
inline fetch(w) { take(w, 0); take(w, 1); take(w, 2) }
inline take(w, r) {
	if
	:: me.at == running && me.next == r && r < end && (me.established || IF(TAKE_EARLY)) ->
		me.next++;
		me.open[r] = (JOB == UNSEEN && r < me.inherited);
		me.asked = (JOB != UNSEEN || r < me.asked -> me.asked : r + 2);
		JOB = (JOB == UNSEEN -> HAND : JOB)
	:: else
	fi
}

/* A commit reaches the group's coordinator, which knows generations and no epochs. */
inline arrive(w, c) {
	store = c;
	assert(OFFSET(c) < 1 || outcome[0].epoch);	/* guarantee 2 */
	assert(OFFSET(c) < 2 || outcome[1].epoch);
	assert(OFFSET(c) < 3 || outcome[2].epoch)
}

/* session.go and hold.go acknowledge; a drained session has waited for this. */
inline acknowledge(w, c, lease) {
	if
	:: EPOCH(c) == me.epoch && DRAINED && c == DRAFT -> forget(w)
	:: EPOCH(c) == me.epoch && !(DRAINED && c == DRAFT) ->
		me.established = true; me.read = 0; me.held = MAX(me.held, lease); fetch(w)
	:: else
	fi
}

inline give_up(w, r) { me.open[r] = me.open[r] || BUSY(r); JOB = (BUSY(r) -> HAND : JOB) }

proctype work(byte w) {
	byte draft;
endless: do
	:: atomic { !IN_GROUP -> serve(w) }
	/* group.go confirm */
	:: atomic { me.at == idle && me.mine && IN_GROUP -> me.at = confirmed }
	/* fence.go: InitProducerId, which waits for the transaction before; then an empty transaction */
	:: atomic { me.at == confirmed && marker == 0 && (calm && GROUPS == 1 || coordinator < TAKEOVERS) ->
		coordinator++; assert(coordinator < 8); me.epoch = coordinator; me.at = initialised }
	:: atomic { me.at == initialised && me.epoch == coordinator -> marker = (IF(NO_MARKER) -> 0 : me.epoch); me.at = ended }
	/* fence.go: the barrier; all of it ends when the coordinator knows a newer epoch */
	:: atomic { (me.at == initialised || me.at == ended) && me.epoch < coordinator -> fail(w) }
	:: atomic { me.at == ended && me.epoch == coordinator && (marker == 0 || IF(NO_BARRIER)) -> me.at = fenced }
	/* takeover.go overtaken, inspect */
	:: atomic { me.at == fenced && EPOCH(store) > me.epoch && !IF(OVERTAKEN) -> fail(w) }
	:: atomic { me.at == fenced && (EPOCH(store) < me.epoch || IF(OVERTAKEN)) -> inspect(w) }

	/* commit.go: acknowledged at once, or of unknown end for now */
	:: atomic { me.serving && IN_GROUP && MAY_COMMIT && (NEWS || DRAINED) ->
		if
		:: draft = DRAFT; arrive(w, draft); acknowledge(w, draft, me.asked); draft = 0
		:: flight == 0 && FAULT; flight = DRAFT; own = me.asked; sender = w; me.serving = IF(STAY)
		fi }

	/* fetch.go capLease: a session timeout after the fence no earlier owner starts a call any more */
	:: atomic { me.at == running && me.inherited > end && me.cap == 0 ->
		me.cap = end; me.inherited = (IF(NO_LEASE_CAP) -> me.inherited : end);
		worker[1-w].stale = worker[1-w].epoch != 0 && worker[1-w].epoch < me.epoch }
	/* permit.go prove */
	:: atomic { me.at == running && me.stale -> fail(w) }
	/* the ledger or the request log failed */
	:: atomic { me.at == running && FAULT; fail(w) }

	/* SIGTERM */
	:: atomic { me.at == running && FAULT; me.at = draining }
	/* session.go drain: out of time */
	:: atomic { me.at == draining && !DRAINED && FAULT; give_up(w, 0); give_up(w, 1); give_up(w, 2) }
	/* hold.go release: nothing to commit any more, or it is waited for in vain */
	:: atomic { DRAINED && !MAY_COMMIT -> fail(w) }
	:: atomic { DRAINED && MAY_COMMIT && FAULT; fail(w) }
	/* the process dies; its successor has nothing in mind, and joins in the next generation */
	:: atomic { (me.at != idle || me.mine) && FAULT;
		forget(w); me.idles = 0; me.mine = false; me.serving = true; me.generation = generation }
	od
}

/* writer.go, produce.go: the partition's leader knows the epochs and sequences that it has seen. */
#define REFUSED (me.epoch < highest && !IF(NO_FENCE))
inline append(w, r, cancelled, answer) {
	if
	:: REFUSED -> fail(w)
	:: else ->
		highest = MAX(highest, me.epoch);
		assert(outcome[r].epoch == 0);				/* guarantee 1 */
		outcome[r].epoch = me.epoch;
		outcome[r].answers = (r == 0 && answer);
		outcome[r].sound = cancelled || me.open[r] && !(r == 2 && me.known);
		assert(outcome[r].sound || (called[r] & ~BIT(w)) == 0);	/* guarantee 4: no call is concealed, */
		assert(cancelled || !outcome[r].sound || called[r] || me.cap == 0 || r < me.cap);	/* and none is made up */
		called[r] = 0; me.open[r] = false;
		if
		:: acked(w, r)
		:: FAULT; JOB = UNACKED
		fi
	fi
}
inline acked(w, r) { JOB = DONE; me.known = me.known || r == 0 && outcome[0].answers }

/* worker/handle.go: a request in hand. A duplicate waits for the first: dedupe/claims.go. */
#define TURN (me.at == running && JOB == HAND && (r != 2 || me.job[0] == DONE || IF(NO_TURN)))
#define ANSWERED (r == 2 && me.known)
#define PLAIN (r == 1)	/* message b only keeps the watermark busy: its first call cancels it */
proctype handle(byte w; byte r) {
endless: do
	/* a duplicate that an earlier outcome answers; or the request has expired */
	:: atomic { TURN && !PLAIN -> append(w, r, false, false) }
	/* a call; permit.go Holds */
	:: atomic { TURN && !ANSWERED && (r < me.held || IF(NO_PERMIT)) && !me.stale ->
		assert(r != 2 || !outcome[0].answers);			/* guarantee 3 */
		assert(outcome[r].epoch == 0 || outcome[r].sound);	/* guarantee 4 */
		called[r] = (outcome[r].epoch == 0 -> called[r] | BIT(w) : 0);
		JOB = SENT }
	/* its answer: cancelled, not cancelled, refused without effect, none */
	:: atomic { JOB == SENT -> append(w, r, true, true) }
	:: atomic { JOB == SENT && !PLAIN -> append(w, r, false, true) }
	:: atomic { JOB == SENT && !PLAIN && FAULT; called[r] = (me.open[r] -> called[r] : called[r] & ~BIT(w)); JOB = HAND }
	:: atomic { JOB == SENT && !PLAIN && FAULT; me.open[r] = true; JOB = HAND }
	/* the same batch again */
	:: atomic { JOB == UNACKED ->
		if
		:: REFUSED -> fail(w)
		:: else -> acked(w, r)
		fi }
#if IF(NEW_SEQUENCE)
	:: atomic { JOB == UNACKED -> append(w, r, false, false) }
#endif
	od
}

/* Of two workers that have nothing in mind it does not matter which one is given the partition. */
#define FRESH(w) (worker[w].at == idle && worker[w].idles == 0 && !worker[w].mine)
inline hear(w) {
	me.moved = me.moved || OWNS(1-w) && !OWNS(w) && me.at != idle;
	me.generation = (me.at == idle && !me.mine && !OWNS(w) -> generation : me.generation)
}

/* The brokers, the publishers, the group's coordinator. */
proctype kafka() {
endless: do
	:: atomic { marker != 0 -> highest = marker; marker = 0 }
	:: atomic { end < REQUESTS -> end++; take(0, LOG); take(1, LOG) }
	:: atomic { flight != 0 ->
		arrive(sender, flight);
		if
		:: acknowledge(sender, flight, own); worker[sender].serving = true
		:: true
		fi;
		flight = 0; own = 0; sender = 0 }
	:: atomic { generation < GENERATIONS ->
		generation++; flight = 0; own = 0; sender = 0;	/* commits of the one before are refused */
		if
		:: generation == GENERATIONS -> calm = true; faults = 0
		:: else
		fi;
		if
		:: owner = 0
		:: !(FRESH(0) && FRESH(1)) && GROUPS == 1 -> owner = 1
		:: !calm && GROUPS == 1 -> owner = NOBODY
		fi;
		hear(0); hear(1) }
	od
}

#define ALL (outcome[0].epoch && outcome[1].epoch && outcome[2].epoch)

init {
	atomic {
		generation = 1;
		worker[0].at = idle; worker[0].generation = 1; worker[0].serving = true; worker[0].mine = true;
		worker[1].at = idle; worker[1].generation = 1; worker[1].serving = true; worker[1].mine = (GROUPS == 2);
		run work(0); run work(1);
		run handle(0, 0); run handle(0, 1); run handle(0, 2);
		run handle(1, 0); run handle(1, 1); run handle(1, 2);
		run kafka()
	}
	/* Nothing is left to do: every request has its outcome, unless two groups have fenced each other as often as they may. */
	timeout -> assert(calm && (ALL || GROUPS == 2))
}

#ifdef LIVENESS
ltl answered { [] (calm -> <> ALL) }
#endif
