package main

import (
	"context"
	"fmt"
	"math/big"
	"os"
	"strconv"
	"strings"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/ethclient"
	"github.com/ethereum/go-ethereum/params"
)

// chunkBytes of a file go into one transaction: with signature and head it stays below the pool's limit of 128 KiB.
const chunkBytes = 120_000

// publish signs a transaction for every chunk of a file, gives them to the pool, and prints SENDER:FIRST:COUNT.
func publish(ctx context.Context, client *ethclient.Client, config Config, path string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	key, err := crypto.HexToECDSA(config.Accounts[config.Own])
	if err != nil {
		return fmt.Errorf("the account of %s: %w", config.Own, err)
	}
	sender := crypto.PubkeyToAddress(key.PublicKey)
	first, err := client.PendingNonceAt(ctx, sender)
	if err != nil {
		return err
	}
	signer := types.LatestSignerForChainID(big.NewInt(config.ChainID))
	count := uint64(0)
	for begin := 0; begin == 0 || begin < len(data); begin += chunkBytes {
		chunk := data[begin:min(begin+chunkBytes, len(data))]
		tx, err := types.SignNewTx(key, signer, &types.LegacyTx{
			Nonce: first + count, To: &sender, Data: chunk, GasPrice: big.NewInt(2 * params.GWei),
			Gas: params.TxGas + params.TxDataNonZeroGasEIP2028*uint64(len(chunk)),
		})
		if err != nil {
			return err
		}
		if err := client.SendTransaction(ctx, tx); err != nil {
			return fmt.Errorf("transaction %d: %w", first+count, err)
		}
		count++
	}
	fmt.Printf("%s:%d:%d\n", sender, first, count)
	return nil
}

// fetch waits until this node's pool has all transactions of a content, and writes their data to a file. Each has been
// checked by geth against its sender's signature.
func fetch(ctx context.Context, client *ethclient.Client, id, path string) error {
	sender, first, count, err := parseID(id)
	if err != nil {
		return err
	}
	arrived := make(chan common.Hash, 1024)
	subscription, err := client.Client().EthSubscribe(ctx, arrived, "newPendingTransactions")
	if err != nil {
		return err
	}
	defer subscription.Unsubscribe()
	for {
		next, err := client.PendingNonceAt(ctx, sender)
		if err != nil {
			return err
		}
		if next >= first+count {
			break
		}
		select {
		case <-arrived:
		case err := <-subscription.Err():
			return fmt.Errorf("geth ended: %w", err)
		}
	}
	var pool map[string]map[string]struct {
		Input hexutil.Bytes `json:"input"`
	}
	if err := client.Client().CallContext(ctx, &pool, "txpool_contentFrom", sender); err != nil {
		return err
	}
	var data []byte
	for nonce := first; nonce < first+count; nonce++ {
		tx, ok := pool["pending"][strconv.FormatUint(nonce, 10)]
		if !ok {
			return fmt.Errorf("transaction %d has left the pool", nonce)
		}
		data = append(data, tx.Input...)
	}
	return os.WriteFile(path, data, 0o644)
}

func parseID(id string) (sender common.Address, first, count uint64, err error) {
	parts := strings.Split(id, ":")
	if len(parts) != 3 || !common.IsHexAddress(parts[0]) {
		return sender, 0, 0, fmt.Errorf("%q is not SENDER:FIRST:COUNT", id)
	}
	if first, err = strconv.ParseUint(parts[1], 10, 64); err != nil {
		return sender, 0, 0, err
	}
	count, err = strconv.ParseUint(parts[2], 10, 64)
	return common.HexToAddress(parts[0]), first, count, err
}
