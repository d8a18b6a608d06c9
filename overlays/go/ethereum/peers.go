package main

import (
	"context"
	"encoding/json"
	"os"
	"strings"

	"github.com/ethereum/go-ethereum/ethclient"
	"github.com/ethereum/go-ethereum/p2p"
)

// Peer is a connection over RLPx, which is TCP; discovery's UDP has none.
type Peer struct {
	Node    string `json:"node"`
	Remote  string `json:"remote"`
	Inbound bool   `json:"inbound"`
}

// printPeers prints geth's peers by the names that the adapter has given them.
func printPeers(ctx context.Context, client *ethclient.Client, config Config) error {
	var infos []p2p.PeerInfo
	if err := client.Client().CallContext(ctx, &infos, "admin_peers"); err != nil {
		return err
	}
	peers := []Peer{}
	for _, info := range infos {
		for name, public := range config.Nodes {
			if strings.HasPrefix(info.Enode, "enode://"+public) {
				peers = append(peers, Peer{name, info.Network.RemoteAddress, info.Network.Inbound})
			}
		}
	}
	return json.NewEncoder(os.Stdout).Encode(peers)
}
