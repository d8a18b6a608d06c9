package main

import (
	"slices"
	"strings"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/event"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/host/autorelay"
	"github.com/libp2p/go-libp2p/p2p/protocol/holepunch"
	ma "github.com/multiformats/go-multiaddr"
)

// startMember starts a node behind a NAT: it is reached through its relay, and directly once a hole is punched.
func startMember(config Config) (host.Host, error) {
	options, err := common(config)
	if err != nil {
		return nil, err
	}
	relays, err := addresses(config.Relays)
	if err != nil {
		return nil, err
	}
	names := map[string]string{}
	for name, target := range config.Peers {
		names[target.ID] = name
	}
	options = append(options,
		libp2p.ForceReachabilityPrivate(),
		// After a static list its own wishes: a relay with two addresses is one candidate, and none is waited for.
		libp2p.EnableAutoRelayWithStaticRelays(relays,
			autorelay.WithBootDelay(0), autorelay.WithMinCandidates(1), autorelay.WithNumRelays(1),
			autorelay.WithBackoff(time.Second), autorelay.WithMinInterval(time.Second)),
	)
	if config.Punch {
		options = append(options, libp2p.EnableHolePunching(holepunch.WithTracer(tracer{names})))
	}
	node, err := libp2p.New(options...)
	if err != nil {
		return nil, err
	}
	node.Network().Notify(told(names))
	if err := serve(node, config, relays); err != nil {
		return nil, err
	}
	return node, tellReadiness(node, config)
}

// tellReadiness tells when the relay can be used, and when hole punching can: the puncher knows a public address by then.
// A relayed connection that arrives earlier is never punched.
func tellReadiness(node host.Host, config Config) error {
	changes, err := node.EventBus().Subscribe([]any{new(event.EvtAutoRelayAddrsUpdated), new(event.EvtLocalProtocolsUpdated)})
	if err != nil {
		return err
	}
	go func() {
		defer changes.Close()
		reserved, punching := false, !config.Punch
		for {
			// Both are read anew after every event: what came before the subscription counts too.
			if !reserved && slices.ContainsFunc(node.Addrs(), isCircuit) {
				reserved = true
				tell("reserved", nil)
			}
			if !punching && slices.Contains(node.Mux().Protocols(), holepunch.Protocol) {
				punching = true
				tell("punching", nil)
			}
			if reserved && punching {
				tell("ready", map[string]any{"id": node.ID().String()})
				return
			}
			select {
			case <-changes.Out():
			case <-time.After(100 * time.Millisecond): // node.Addrs() may lag behind the event that announces it
			}
		}
	}()
	return nil
}

func isCircuit(address ma.Multiaddr) bool {
	return strings.Contains(address.String(), "/p2p-circuit")
}

// addresses gathers multiaddrs by the peer in which they end.
func addresses(texts []string) ([]peer.AddrInfo, error) {
	parsed := make([]ma.Multiaddr, 0, len(texts))
	for _, text := range texts {
		address, err := ma.NewMultiaddr(text)
		if err != nil {
			return nil, err
		}
		parsed = append(parsed, address)
	}
	return peer.AddrInfosFromP2pAddrs(parsed...)
}
