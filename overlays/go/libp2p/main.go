// A libp2p node for overlaybench: a public relay (circuit relay v2), or a member that carries TCP streams to the others.
//
//	overlaybench-libp2p CONFIG.json
//
// What happens is told in JSON, an event a line. Nothing that could leave the lab is switched on: no port mapping, no
// mDNS, no DHT, no bootstrap peers.
package main

import (
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/host"
)

// Config is what the adapter renders. A node without relays is one.
type Config struct {
	Seed      string            `json:"seed"`      // of the Ed25519 key, in hexadecimal
	Listen    []string          `json:"listen"`    // multiaddrs
	Relays    []string          `json:"relays"`    // multiaddrs that end in /p2p/ID
	Unlimited bool              `json:"unlimited"` // of a relay: no limits, so that relayed connections do not count as limited
	Punch     bool              `json:"punch"`     // try for a direct connection (DCUtR)
	Relayed   bool              `json:"relayed"`   // streams may go through the relay
	Service   string            `json:"service"`   // HOST:PORT to which incoming streams lead
	Peers     map[string]Target `json:"peers"`     // by name
}

// Target is a peer, and where its service is to be found on this node.
type Target struct {
	ID     string `json:"id"`
	Listen string `json:"listen"`
}

func main() {
	if len(os.Args) == 2 && os.Args[1] == "--version" {
		fmt.Println("go-libp2p", libraryVersion())
		return
	}
	if len(os.Args) != 2 {
		fail(fmt.Errorf("usage: %s CONFIG.json | --version", os.Args[0]))
	}
	config, err := read(os.Args[1])
	if err != nil {
		fail(err)
	}
	node, err := start(config)
	if err != nil {
		fail(err)
	}
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGTERM, syscall.SIGINT)
	<-ended
	node.Close()
}

func start(config Config) (host.Host, error) {
	if len(config.Relays) == 0 {
		return startRelay(config)
	}
	return startMember(config)
}

func read(path string) (Config, error) {
	var config Config
	text, err := os.ReadFile(path)
	if err != nil {
		return config, err
	}
	return config, json.Unmarshal(text, &config)
}

// common has what relay and member share.
func common(config Config) ([]libp2p.Option, error) {
	seed, err := hex.DecodeString(config.Seed)
	if err != nil || len(seed) != ed25519.SeedSize {
		return nil, fmt.Errorf("seed: %d bytes in hexadecimal are needed", ed25519.SeedSize)
	}
	key, err := crypto.UnmarshalEd25519PrivateKey(ed25519.NewKeyFromSeed(seed))
	if err != nil {
		return nil, err
	}
	return []libp2p.Option{libp2p.Identity(key), libp2p.ListenAddrStrings(config.Listen...)}, nil
}

func libraryVersion() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, module := range info.Deps {
			if module.Path == "github.com/libp2p/go-libp2p" {
				return module.Version
			}
		}
	}
	return "unknown"
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}
