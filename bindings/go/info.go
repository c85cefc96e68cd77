package hotstuff

// #include "shim.h"
import "C"

// Role is what a replica does.
type Role uint32

const (
	// Listener: it follows the chain and serves it, and does not vote.
	Listener Role = C.HOTSTUFF_ROLE_LISTENER
	// ValidatorRole: its key is in the validator set.
	ValidatorRole Role = C.HOTSTUFF_ROLE_VALIDATOR
)

// String is "listener" or "validator".
func (r Role) String() string {
	if r == Listener {
		return "listener"
	}
	return "validator"
}

// Info is where a replica is, at one moment.
type Info struct {
	// Epoch is the reign of a validator set; 0 is the genesis's.
	Epoch uint64
	// View is the view of the epoch that it is in.
	View uint64
	// CommittedHeight is the height of the last committed block; 0 while there is none.
	CommittedHeight uint64
	// HighestQCView is the view of the highest quorum certificate that it knows.
	HighestQCView uint64
	// SyncTargetHeight is the height it is catching up to; 0 when it is not.
	SyncTargetHeight uint64
	// Role is what it does.
	Role Role
	// Halted says that it has stopped itself.
	Halted bool
	// Silenced says that it has seen signatures of its own key that it does not remember: a second
	// replica runs with its key, or its disk is an old one. Until it starts again it only listens.
	Silenced bool
}

// Info is where the replica is.
func (r *Replica) Info() (Info, error) {
	var info C.hotstuff_replica_info
	C.hotstuff_replica_info_init(&info, C.sizeof_hotstuff_replica_info)
	err := r.do("info", func(c *cReplica) cStatus {
		return C.hotstuff_replica_get_info(c, &info)
	})
	return Info{
		Epoch: uint64(info.epoch), View: uint64(info.view),
		CommittedHeight:  uint64(info.committed_height),
		HighestQCView:    uint64(info.highest_qc_view),
		SyncTargetHeight: uint64(info.sync_target_height),
		Role:             Role(info.role), Halted: info.halted != 0, Silenced: info.silenced != 0,
	}, err
}

// Metrics are counters since the replica was opened. They only rise, but for the first two.
type Metrics struct {
	// CurrentView is the view it is in.
	CurrentView uint64
	// CommittedHeight is the height of the last committed block.
	CommittedHeight uint64
	// Proposals counts blocks proposed.
	Proposals uint64
	// Votes counts votes cast.
	Votes uint64
	// ViewTimeouts counts views that have run out.
	ViewTimeouts uint64
	// MessagesIn counts messages received.
	MessagesIn uint64
	// MessagesOut counts messages sent; a broadcast counts once for each other validator.
	MessagesOut uint64
	// BytesIn counts bytes received.
	BytesIn uint64
	// BytesOut counts bytes sent, broadcasts like MessagesOut.
	BytesOut uint64
	// MessagesRejected counts messages received that were refused or dropped.
	MessagesRejected uint64
	// EventsDropped counts events that the library's own queue had no room for; see also
	// [Replica.EventsDropped].
	EventsDropped uint64
	// Transactions counts transactions on the database: one for each step that writes.
	Transactions uint64
	// AppFailures counts questions that were not put to the app, because it had too many or the
	// state to answer from was gone.
	AppFailures uint64
	// EvidenceFound counts validators newly caught contradicting themselves, each once for each
	// epoch and kind.
	EvidenceFound uint64
}

// Metrics are the counters of the replica.
func (r *Replica) Metrics() (Metrics, error) {
	var m C.hotstuff_metrics
	C.hotstuff_metrics_init(&m, C.sizeof_hotstuff_metrics)
	err := r.do("metrics", func(c *cReplica) cStatus {
		return C.hotstuff_replica_metrics(c, &m)
	})
	return Metrics{
		CurrentView: uint64(m.current_view), CommittedHeight: uint64(m.committed_height),
		Proposals: uint64(m.proposals), Votes: uint64(m.votes),
		ViewTimeouts: uint64(m.view_timeouts),
		MessagesIn:   uint64(m.messages_in), MessagesOut: uint64(m.messages_out),
		BytesIn: uint64(m.bytes_in), BytesOut: uint64(m.bytes_out),
		MessagesRejected: uint64(m.messages_rejected), EventsDropped: uint64(m.events_dropped),
		Transactions: uint64(m.transactions), AppFailures: uint64(m.app_failures),
		EvidenceFound: uint64(m.evidence_found),
	}, err
}
