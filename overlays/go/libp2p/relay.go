package main

import (
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/relay"
)

// Peers wait for a direct connection only where the relayed one is limited, so there are limits, which no trial reaches.
const (
	relayedTime  = 24 * time.Hour
	relayedBytes = 1 << 50
	members      = 1024
)

// startRelay starts a public node that relays for whoever asks.
func startRelay(config Config) (host.Host, error) {
	options, err := common(config)
	if err != nil {
		return nil, err
	}
	resources := relay.DefaultResources()
	resources.Limit = &relay.RelayLimit{Duration: relayedTime, Data: relayedBytes}
	if config.Unlimited {
		resources.Limit = nil
	}
	resources.MaxReservations, resources.MaxReservationsPerIP, resources.MaxReservationsPerASN = members, members, members
	resources.MaxCircuits = members
	node, err := libp2p.New(append(options,
		libp2p.ForceReachabilityPublic(),
		libp2p.EnableRelayService(relay.WithResources(resources)),
	)...)
	if err != nil {
		return nil, err
	}
	tell("ready", map[string]any{"id": node.ID().String()})
	return node, nil
}
