package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"

	"golang.org/x/mod/sumdb/tlog"
)

const tileHeight = 8

// A remoteLog reads tiles of C2SP tlog-tiles over HTTP. What it keeps was authenticated by tlog.
type remoteLog struct {
	base, token string
	mutex       sync.Mutex
	kept        map[tlog.Tile][]byte
}

func (log *remoteLog) Height() int { return tileHeight }

func (log *remoteLog) SaveTiles(tiles []tlog.Tile, data [][]byte) {
	log.mutex.Lock()
	defer log.mutex.Unlock()
	for i, tile := range tiles {
		log.kept[tile] = data[i]
	}
}

func (log *remoteLog) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	data := make([][]byte, 0, len(tiles))
	for _, tile := range tiles {
		log.mutex.Lock()
		bytes, kept := log.kept[tile]
		log.mutex.Unlock()
		if !kept {
			var err error
			if bytes, err = log.get(tile); err != nil {
				return nil, err
			}
		}
		data = append(data, bytes)
	}
	return data, nil
}

// C2SP leaves the height out of the path, because it is always 8, and calls the data entries.
func (log *remoteLog) get(tile tlog.Tile) ([]byte, error) {
	path := strings.Replace(strings.Replace(tile.Path(), "tile/8/", "tile/", 1), "tile/data/", "tile/entries/", 1)
	request, err := http.NewRequest(http.MethodGet, log.base+"/"+path, nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Authorization", "Bearer "+log.token)
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s", path, answer.Status)
	}
	return io.ReadAll(io.LimitReader(answer.Body, 256*(65535+2)+1))
}

func openLog(base, token string) *remoteLog {
	return &remoteLog{base: base, token: token, kept: map[tlog.Tile][]byte{}}
}

// checkTiles reads every entry of the log and its hash from the tiles, and proves each entry in the tree that is signed.
func checkTiles(base, token string, tree tlog.Tree) (int64, error) {
	log := openLog(base, token)
	tiles := tlog.TileHashReader(tree, log)
	for n := int64(0); n < tree.N; n += 1 << tileHeight {
		width := tree.N - n
		if width > 1<<tileHeight {
			width = 1 << tileHeight
		}
		bytes, err := log.get(tlog.Tile{H: tileHeight, L: -1, N: n >> tileHeight, W: int(width)})
		if err != nil {
			return n, err
		}
		entries, err := splitEntries(bytes, int(width))
		if err != nil {
			return n, err
		}
		for i, entry := range entries {
			index := n + int64(i)
			proof, err := tlog.ProveRecord(tree.N, index, tiles)
			if err != nil {
				return index, err
			}
			if err := tlog.CheckRecord(proof, tree.N, tree.Hash, index, tlog.RecordHash(entry)); err != nil {
				return index, fmt.Errorf("entry %d: %w", index, err)
			}
		}
	}
	return tree.N, nil
}

func extendsInTiles(base, token string, older, newer tlog.Tree) error {
	proof, err := tlog.ProveTree(newer.N, older.N, tlog.TileHashReader(newer, openLog(base, token)))
	if err != nil {
		return err
	}
	return tlog.CheckTree(proof, newer.N, newer.Hash, older.N, older.Hash)
}

// splitEntries reads an entry bundle: each entry behind its length in two bytes.
func splitEntries(bytes []byte, width int) ([][]byte, error) {
	var entries [][]byte
	for len(bytes) > 0 {
		if len(bytes) < 2 || len(bytes)-2 < int(binary.BigEndian.Uint16(bytes)) {
			return nil, errors.New("an entry is cut")
		}
		end := 2 + int(binary.BigEndian.Uint16(bytes))
		entries = append(entries, bytes[2:end])
		bytes = bytes[end:]
	}
	if len(entries) != width {
		return nil, fmt.Errorf("%d entries where %d are asked for", len(entries), width)
	}
	return entries, nil
}
