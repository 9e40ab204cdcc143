package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"golang.org/x/mod/sumdb/tlog"
)

// What is read of a bundle's line: the checkpoint's note, and index and text of an event. Nothing else is believed.
type bundleLine struct {
	Kind  string `json:"kind"`
	Note  string `json:"note"`
	Index int64  `json:"index"`
	Event string `json:"event"`
}

// checkBundle computes the root anew from the bundle's events, in the order of the file, and compares it with the one that the
// bundle's checkpoint signs and, when that is of the same size, with the tree given.
func checkBundle(path, origin, key string, tree tlog.Tree) (int64, error) {
	file, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer file.Close()
	var stored storedHashes
	var count int64
	var signed *tlog.Tree
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var line bundleLine
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			return count, err
		}
		switch line.Kind {
		case "checkpoint":
			if signed != nil {
				return count, errors.New("two checkpoints")
			}
			opened, err := openCheckpoint(line.Note, origin, key)
			if err != nil {
				return count, err
			}
			signed = &opened
		case "event":
			if line.Index != count {
				return count, fmt.Errorf("index %d where %d is next", line.Index, count)
			}
			added, err := tlog.StoredHashes(count, []byte(line.Event), &stored)
			if err != nil {
				return count, err
			}
			stored = append(stored, added...)
			count++
		}
	}
	if err := lines.Err(); err != nil {
		return count, err
	}
	if signed == nil {
		return count, errors.New("no checkpoint")
	}
	if count != signed.N {
		return count, fmt.Errorf("%d events where %d are signed", count, signed.N)
	}
	root, err := tlog.TreeHash(count, &stored)
	if err != nil {
		return count, err
	}
	if root != signed.Hash || (tree.N == signed.N && tree.Hash != root) {
		return count, errors.New("the events do not lead to the root that is signed")
	}
	return count, nil
}

type storedHashes []tlog.Hash

func (stored *storedHashes) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	found := make([]tlog.Hash, 0, len(indexes))
	for _, index := range indexes {
		found = append(found, (*stored)[index])
	}
	return found, nil
}
