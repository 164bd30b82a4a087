// Package model holds the protocol of one request partition as a model for spin
// (ledger.pml) and the tests that check it: that it holds, and that it breaks
// without each of its parts. It holds no code of the product; README.md says what
// the model leaves out.
package model
