package api

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"

	"smscancel/worker"
)

// codeForeignSubAccount under 401 means that the sub-account is not the
// account's: it concerns the message alone. Every other code means a bad key.
const codeForeignSubAccount = 1001

// Judge says what an attempt means. It depends on nothing but a.
func Judge(a Attempt) worker.Verdict {
	switch {
	case a.HTTPStatus == 0:
		return judgeFailure(a)
	case retriedByStatus(a.HTTPStatus):
		return judgeByStatus(a)
	case a.Err != nil:
		return brokenAnswer(a)
	case a.HTTPStatus == http.StatusOK:
		return judgeOK(a)
	case a.HTTPStatus/100 == 4:
		return judgeRefusal(a)
	}
	return badResponse(a, "is not an answer of this API")
}

// judgeFailure judges a call without an answer.
func judgeFailure(a Attempt) worker.Verdict {
	switch {
	case errors.Is(a.Err, ErrNoKey):
		return worker.Verdict{Status: worker.StatusFailed, Hold: true, NoCall: true,
			Err: &worker.Error{Kind: worker.KindUnauthorized, Message: a.Err.Error()}}
	case errors.Is(a.Err, errBadID):
		return worker.Verdict{Status: worker.StatusFailed, NoCall: true,
			Err: &worker.Error{Kind: worker.KindInvalidRequest, Message: a.Err.Error()}}
	case errors.Is(a.Err, errCalledOff):
		return worker.Verdict{Retry: true, NoCall: true}
	}
	return retry(a, &worker.Error{Kind: failureKind(a), Message: message(a.Err)})
}

func failureKind(a Attempt) worker.Kind {
	switch {
	case isTimeout(a.Err):
		return worker.KindTimeout
	case errors.Is(a.Err, context.Canceled):
		return worker.KindNetwork
	case isTLS(a.Err):
		return worker.KindTLS
	case a.Answered:
		return worker.KindBadResponse // something came, and it was not HTTP or not all of it
	}
	return worker.KindNetwork
}

func isTimeout(err error) bool {
	var t interface{ Timeout() bool }
	return errors.Is(err, context.DeadlineExceeded) || errors.As(err, &t) && t.Timeout()
}

func isTLS(err error) bool {
	var handshake *tlsError
	var op *net.OpError
	return errors.As(err, &handshake) || errors.As(err, &op) && isAlert(op)
}

func message(err error) string {
	if err == nil {
		return "no answer"
	}
	return err.Error()
}

// retriedByStatus lists the statuses that speak for themselves, whatever the
// body: a proxy's 502 is as good a reason to try again as the API's.
func retriedByStatus(status int) bool {
	switch status {
	case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
		return true
	}
	return status/100 == 5
}

func judgeByStatus(a Attempt) worker.Verdict {
	e, _, isObject := parseError(a.Body)
	if !isObject {
		e.Message = statusText(a.HTTPStatus)
	}
	e.HTTPStatus, e.Kind = a.HTTPStatus, statusKind(a.HTTPStatus)
	v := retry(a, &e)
	v.RetryAfter = parseRetryAfter(a.RetryAfter, a.At)
	return v
}

// brokenAnswer judges a status whose body did not arrive whole, or is too large.
func brokenAnswer(a Attempt) worker.Verdict {
	kind := worker.KindBadResponse
	if isTimeout(a.Err) {
		kind = worker.KindTimeout
	}
	return retry(a, &worker.Error{Kind: kind, HTTPStatus: a.HTTPStatus,
		Message: fmt.Sprintf("%s: %v", statusText(a.HTTPStatus), a.Err)})
}

func judgeOK(a Attempt) worker.Verdict {
	count, err := parseCount(a.Body)
	if err != nil {
		return badResponse(a, err.Error())
	}
	status := worker.StatusCancelled
	if count == 0 {
		status = worker.StatusNotCancelled
	}
	return worker.Verdict{Status: status, Count: &count}
}

// judgeRefusal judges a complete 4xx that is final if the API itself gave it.
func judgeRefusal(a Attempt) worker.Verdict {
	e, hasCode, _ := parseError(a.Body)
	if !hasCode {
		return badResponse(a, "without the API's error body")
	}
	e.HTTPStatus, e.Kind = a.HTTPStatus, statusKind(a.HTTPStatus)
	return worker.Verdict{Status: worker.StatusFailed, Err: &e, Hold: concernsKey(a.HTTPStatus, *e.Code)}
}

// concernsKey tells whether every message of the key would be refused alike.
func concernsKey(status, code int) bool {
	return status == http.StatusUpgradeRequired ||
		status == http.StatusUnauthorized && code != codeForeignSubAccount
}

func badResponse(a Attempt, why string) worker.Verdict {
	return retry(a, &worker.Error{Kind: worker.KindBadResponse, HTTPStatus: a.HTTPStatus,
		Message: statusText(a.HTTPStatus) + " " + why})
}

func retry(a Attempt, e *worker.Error) worker.Verdict {
	return worker.Verdict{Retry: true, Err: e, Open: mayHaveTakenEffect(a)}
}

// mayHaveTakenEffect tells whether an attempt that is to be repeated leaves
// open what it did.
func mayHaveTakenEffect(a Attempt) bool {
	switch {
	case a.HTTPStatus == 0:
		return a.Written
	case !a.Complete:
		return true
	case a.HTTPStatus == http.StatusNotImplemented, a.HTTPStatus == http.StatusServiceUnavailable:
		return false
	}
	return a.HTTPStatus/100 != 3 && a.HTTPStatus/100 != 4
}

func statusKind(status int) worker.Kind {
	switch status {
	case http.StatusBadRequest:
		return worker.KindInvalidRequest
	case http.StatusUnauthorized:
		return worker.KindUnauthorized
	case http.StatusForbidden:
		return worker.KindForbidden
	case http.StatusNotFound:
		return worker.KindNotFound
	case http.StatusUpgradeRequired:
		return worker.KindUpgradeRequired
	case http.StatusTooManyRequests:
		return worker.KindRateLimited
	}
	if status/100 == 5 {
		return worker.KindServerError
	}
	return worker.KindClientError
}

func statusText(status int) string {
	if text := http.StatusText(status); text != "" {
		return fmt.Sprintf("HTTP %d %s", status, text)
	}
	return fmt.Sprintf("HTTP %d", status)
}
