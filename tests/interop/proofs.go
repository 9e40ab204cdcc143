package main

import (
	"encoding/base64"
	"fmt"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// The first line of a tree that tlog reads; a C2SP checkpoint has its origin there and is otherwise the same.
const treeHeader = "go.sum database tree"

// openCheckpoint verifies a signed note under exactly one key and reads the tree it signs, which must be of the origin.
func openCheckpoint(text, origin, key string) (tlog.Tree, error) {
	verifier, err := note.NewVerifier(key)
	if err != nil {
		return tlog.Tree{}, err
	}
	if verifier.Name() != origin {
		return tlog.Tree{}, fmt.Errorf("the key is of %q", verifier.Name())
	}
	opened, err := note.Open([]byte(text), note.VerifierList(verifier))
	if err != nil {
		return tlog.Tree{}, err
	}
	first, rest, found := strings.Cut(opened.Text, "\n")
	if !found || first != origin {
		return tlog.Tree{}, fmt.Errorf("it is of %q", first)
	}
	return tlog.ParseTree([]byte(treeHeader + "\n" + rest))
}

func checkRecord(tree tlog.Tree, record Record) error {
	proof, err := hashes(record.Proof)
	if err != nil {
		return err
	}
	if record.Index < 0 || record.Index >= tree.N {
		return fmt.Errorf("it is not below %d", tree.N)
	}
	return tlog.CheckRecord(tlog.RecordProof(proof), tree.N, tree.Hash, record.Index, tlog.RecordHash([]byte(record.Event)))
}

func checkConsistency(older, newer tlog.Tree, encoded []string) error {
	proof, err := hashes(encoded)
	if err != nil {
		return err
	}
	return tlog.CheckTree(tlog.TreeProof(proof), newer.N, newer.Hash, older.N, older.Hash)
}

func hashes(encoded []string) ([]tlog.Hash, error) {
	decoded := make([]tlog.Hash, 0, len(encoded))
	for _, text := range encoded {
		bytes, err := base64.StdEncoding.Strict().DecodeString(text)
		if err != nil || len(bytes) != tlog.HashSize {
			return nil, fmt.Errorf("%q is not a hash", text)
		}
		decoded = append(decoded, tlog.Hash(*(*[tlog.HashSize]byte)(bytes)))
	}
	return decoded, nil
}
