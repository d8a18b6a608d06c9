package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math/big"
	"os"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/math"
	"github.com/ethereum/go-ethereum/core"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/ethclient"
	"github.com/ethereum/go-ethereum/params"
)

// gasLimit of a block: no transaction may want more, and one that is full of data wants two million.
const gasLimit = 100_000_000

// printGenesis prints a chain on which every member is rich, and that has had its merge: no proof of work, no blob.
func printGenesis(config Config) error {
	alloc := types.GenesisAlloc{}
	for name, hex := range config.Accounts {
		key, err := crypto.HexToECDSA(hex)
		if err != nil {
			return fmt.Errorf("the account of %s: %w", name, err)
		}
		alloc[crypto.PubkeyToAddress(key.PublicKey)] = types.Account{Balance: new(big.Int).Set(math.MaxBig256)}
	}
	zero, start := big.NewInt(0), uint64(0)
	genesis := core.Genesis{
		Config: &params.ChainConfig{
			ChainID: big.NewInt(config.ChainID), HomesteadBlock: zero, EIP150Block: zero, EIP155Block: zero,
			EIP158Block: zero, ByzantiumBlock: zero, ConstantinopleBlock: zero, PetersburgBlock: zero,
			IstanbulBlock: zero, BerlinBlock: zero, LondonBlock: zero,
			TerminalTotalDifficulty: zero, ShanghaiTime: &start,
		},
		GasLimit: gasLimit, Difficulty: zero, Alloc: alloc,
	}
	return json.NewEncoder(os.Stdout).Encode(genesis)
}

// join makes geth's own first block the head of the chain, as a beacon node would. Until it has a head from somebody
// geth counts as not synchronised, and drops the transactions of its peers.
func join(ctx context.Context, client *ethclient.Client) error {
	head, err := client.HeaderByNumber(ctx, common.Big0)
	if err != nil {
		return err
	}
	state := map[string]common.Hash{"headBlockHash": head.Hash(), "safeBlockHash": {}, "finalizedBlockHash": {}}
	var answer struct {
		PayloadStatus struct {
			Status string `json:"status"`
		} `json:"payloadStatus"`
	}
	if err := client.Client().CallContext(ctx, &answer, "engine_forkchoiceUpdatedV1", state, nil); err != nil {
		return err
	}
	if answer.PayloadStatus.Status != "VALID" {
		return fmt.Errorf("geth says of its own first block: %s", answer.PayloadStatus.Status)
	}
	return nil
}
