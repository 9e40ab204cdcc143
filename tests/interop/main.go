// Checks a log of Caracal with none of its code: signed notes, tree hashes, proofs and tiles by golang.org/x/mod/sumdb.
//
// Reads one request as JSON from standard input and checks everything that stands in it. Exit code 0 and {"ok":true,…}, or
// exit code 1 and {"ok":false,"refused":"…"}.
package main

import (
	"encoding/json"
	"fmt"
	"os"
)

// A Request says what to check. Only Origin, Key and Note must be there.
type Request struct {
	Origin string `json:"origin"`
	Key    string `json:"key"`  // verifier key of the log, from another place than what is checked
	Note   string `json:"note"` // the checkpoint everything is checked against

	Older       string   `json:"older"`       // a checkpoint of an earlier time
	Consistency []string `json:"consistency"` // RFC 9162 proof from Older to Note, base64

	Records []Record `json:"records"` // events with their inclusion proofs

	Bundle string `json:"bundle"` // path of an evidence bundle of the whole log

	Log   string `json:"log"`   // base URL of the log in C2SP tlog-tiles layout
	Token string `json:"token"` // bearer token for Log
}

// A Record is one event, its exact text, with its place and proof.
type Record struct {
	Index int64    `json:"index"`
	Event string   `json:"event"`
	Proof []string `json:"proof"`
}

// An Answer says what was checked, or why it is refused.
type Answer struct {
	OK      bool   `json:"ok"`
	Refused string `json:"refused,omitempty"`
	Size    int64  `json:"size,omitempty"`
	Root    string `json:"root,omitempty"`
	Records int    `json:"records"`           // whose inclusion was checked
	Bundle  int64  `json:"bundle,omitempty"`  // events of the bundle
	Entries int64  `json:"entries,omitempty"` // entries read from the log
}

func main() {
	var request Request
	decoder := json.NewDecoder(os.Stdin)
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&request); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	answer, err := check(request)
	if err != nil {
		answer = Answer{Refused: err.Error()}
	}
	if err := json.NewEncoder(os.Stdout).Encode(answer); err != nil {
		os.Exit(2)
	}
	if !answer.OK {
		os.Exit(1)
	}
}

func check(request Request) (Answer, error) {
	tree, err := openCheckpoint(request.Note, request.Origin, request.Key)
	if err != nil {
		return Answer{}, fmt.Errorf("checkpoint: %w", err)
	}
	answer := Answer{OK: true, Size: tree.N, Root: tree.Hash.String()}
	for _, record := range request.Records {
		if err := checkRecord(tree, record); err != nil {
			return answer, fmt.Errorf("record %d: %w", record.Index, err)
		}
		answer.Records++
	}
	if request.Bundle != "" {
		if answer.Bundle, err = checkBundle(request.Bundle, request.Origin, request.Key, tree); err != nil {
			return answer, fmt.Errorf("bundle: %w", err)
		}
	}
	if request.Older != "" {
		older, err := openCheckpoint(request.Older, request.Origin, request.Key)
		if err != nil {
			return answer, fmt.Errorf("older checkpoint: %w", err)
		}
		if request.Consistency != nil {
			if err := checkConsistency(older, tree, request.Consistency); err != nil {
				return answer, fmt.Errorf("consistency: %w", err)
			}
		}
		if request.Log != "" {
			if err := extendsInTiles(request.Log, request.Token, older, tree); err != nil {
				return answer, fmt.Errorf("consistency in the tiles: %w", err)
			}
		}
	}
	if request.Log != "" {
		if answer.Entries, err = checkTiles(request.Log, request.Token, tree); err != nil {
			return answer, fmt.Errorf("tiles: %w", err)
		}
	}
	return answer, nil
}
