// Package page looks at the worker's status page with a real Chromium: whether its
// numbers are those of the outcome topic, and whether people can use it. It is a
// module of its own, so that nobody who builds smscancel needs a browser's protocol.
package page
