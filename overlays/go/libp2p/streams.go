package main

import (
	"context"
	"io"
	"net"
	"time"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
)

const (
	protocol    = "/overlaybench/tcp/1"
	openTimeout = 15 * time.Second
)

// serve joins streams from peers to the service here, and TCP connections to local ports to the services of peers.
func serve(node host.Host, config Config, relays []peer.AddrInfo) error {
	node.SetStreamHandler(protocol, func(stream network.Stream) {
		local, err := net.DialTimeout("tcp", config.Service, openTimeout)
		if err != nil {
			stream.Reset()
			return
		}
		join(local.(*net.TCPConn), stream)
	})
	for name, target := range config.Peers {
		id, err := peer.Decode(target.ID)
		if err != nil {
			return err
		}
		listener, err := net.Listen("tcp", target.Listen)
		if err != nil {
			return err
		}
		opener := opener{node: node, name: name, info: peer.AddrInfo{ID: id}, relayed: config.Relayed}
		for _, relay := range relays {
			through, err := ma.NewMultiaddr("/p2p/" + relay.ID.String() + "/p2p-circuit")
			if err != nil {
				return err
			}
			for _, address := range relay.Addrs {
				opener.info.Addrs = append(opener.info.Addrs, address.Encapsulate(through))
			}
		}
		go opener.accept(listener)
	}
	return nil
}

// opener opens a stream to one peer for every TCP connection to a local port.
type opener struct {
	node    host.Host
	name    string
	info    peer.AddrInfo // its addresses lead through the relays
	relayed bool
}

func (o opener) accept(listener net.Listener) {
	for {
		local, err := listener.Accept()
		if err != nil {
			fail(err)
		}
		go o.carry(local.(*net.TCPConn))
	}
}

func (o opener) carry(local *net.TCPConn) {
	stream, err := o.open()
	if err != nil {
		tell("refused", map[string]any{"peer": o.name, "error": err.Error()})
		local.SetLinger(0) // the caller shall see a reset, not an end
		local.Close()
		return
	}
	tell("stream", map[string]any{"peer": o.name, "path": path(stream.Conn()), "remote": stream.Conn().RemoteMultiaddr().String()})
	join(local, stream)
}

// open takes the direct connection where there is one. Where streams must not be relayed, it waits for one.
func (o opener) open() (network.Stream, error) {
	ctx, cancel := context.WithTimeout(context.Background(), openTimeout)
	defer cancel()
	limited := network.WithAllowLimitedConn(ctx, "members are introduced by their relay")
	if err := o.node.Connect(limited, o.info); err != nil {
		return nil, err
	}
	if o.relayed {
		return o.node.NewStream(limited, o.info.ID, protocol)
	}
	return o.node.NewStream(ctx, o.info.ID, protocol)
}

// join copies both ways until both have ended; the end of one direction is passed on by itself.
func join(local *net.TCPConn, stream network.Stream) {
	defer local.Close()
	done := make(chan error, 1)
	go func() {
		_, err := io.Copy(stream, local)
		if err == nil {
			err = stream.CloseWrite()
		}
		if err != nil {
			stream.Reset()
		}
		done <- err
	}()
	_, err := io.Copy(local, stream)
	if err == nil {
		err = local.CloseWrite()
	}
	if err != nil {
		stream.Reset()
		local.SetLinger(0)
		local.Close()
	}
	<-done
	stream.Close()
}
