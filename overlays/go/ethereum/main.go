// Command overlaybench-ethereum tells the geth on this node what to do, over its IPC socket. It puts files into signed
// transactions on a private chain, gets them out of another node's pool, and says who geth's peers are.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"github.com/ethereum/go-ethereum/ethclient"
)

const configFile = "ethereum.json"

// Config is what the adapter has written for this node.
type Config struct {
	Own      string            `json:"own"`
	IPC      string            `json:"ipc"`
	ChainID  int64             `json:"chain_id"`
	Accounts map[string]string `json:"accounts"` // member -> private key in hex
	Nodes    map[string]string `json:"nodes"`    // node -> public key in hex, without the head byte
}

const usage = "usage: overlaybench-ethereum genesis | join | publish FILE | fetch ID FILE | peers"

func run(args []string) error {
	text, err := os.ReadFile(configFile)
	if err != nil {
		return err
	}
	var config Config
	if err := json.Unmarshal(text, &config); err != nil {
		return fmt.Errorf("%s: %w", configFile, err)
	}
	if len(args) == 1 && args[0] == "genesis" {
		return printGenesis(config)
	}
	ctx := context.Background()
	client, err := ethclient.DialContext(ctx, config.IPC)
	if err != nil {
		return err
	}
	defer client.Close()
	switch {
	case len(args) == 1 && args[0] == "join":
		return join(ctx, client)
	case len(args) == 1 && args[0] == "peers":
		return printPeers(ctx, client, config)
	case len(args) == 2 && args[0] == "publish":
		return publish(ctx, client, config, args[1])
	case len(args) == 3 && args[0] == "fetch":
		return fetch(ctx, client, args[1], args[2])
	}
	return errors.New(usage)
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "overlaybench-ethereum:", err)
		os.Exit(1)
	}
}
