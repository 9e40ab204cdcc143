// Package register registers no generator: none is used.
package register
