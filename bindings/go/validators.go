package hotstuff

// #include "shim.h"
import "C"

// Validator is a member of a validator set.
type Validator struct {
	// Address is its public key.
	Address Address
	// Power is its share of the votes.
	Power uint64
}

// ValidatorSet is validators and their powers. Make one with [NewValidatorSet].
type ValidatorSet struct {
	// Epoch is the one in which they validate; 0 is the genesis's.
	Epoch uint64
	// Members are the validators, sorted by address.
	Members []Validator
}

// NewValidatorSet sorts validators into a set. Of two entries for one address the later stands; a
// power of 0 removes it. [ErrTooLarge]: more than 1024 validators, or more power than 64 bits hold.
func NewValidatorSet(validators ...Validator) (ValidatorSet, error) {
	var set ValidatorSet
	err := ValidatorSet{Members: validators}.lend("validator set",
		func(c *cSet) cStatus {
			set = readSet(c)
			return C.HOTSTUFF_OK
		})
	return set, err
}

// Power is the power of one validator; 0 if it is not in the set.
func (s ValidatorSet) Power(address Address) uint64 {
	for _, v := range s.Members {
		if v.Address == address {
			return v.Power
		}
	}
	return 0
}

// TotalPower is the power of all validators together.
func (s ValidatorSet) TotalPower() uint64 {
	var total uint64
	for _, v := range s.Members {
		total += v.Power
	}
	return total
}

// QuorumPower is the least power that is a quorum: more than two thirds of all; 0 for an empty set.
func (s ValidatorSet) QuorumPower() uint64 {
	var power uint64
	// What is no set has no quorum.
	_ = s.lend("quorum", func(set *cSet) cStatus {
		power = uint64(C.hotstuff_validator_set_quorum_power(set))
		return C.HOTSTUFF_OK
	})
	return power
}

// lend calls use with the set as C has it.
func (s ValidatorSet) lend(op string, use func(*cSet) cStatus) error {
	var set *cSet
	status := C.hotstuff_validator_set_new(&set)
	defer func() { C.hotstuff_validator_set_free(set) }()
	for i := 0; i < len(s.Members) && status == C.HOTSTUFF_OK; i++ {
		v := s.Members[i]
		status = C.hotstuff_validator_set_put(set, v.Address.c(), C.uint64_t(v.Power))
	}
	if status == C.HOTSTUFF_OK {
		status = C.hotstuff_validator_set_set_epoch(set, C.uint64_t(s.Epoch))
	}
	if status == C.HOTSTUFF_OK {
		status = use(set)
	}
	return failure(op, status)
}

func readSet(set *cSet) ValidatorSet {
	out := ValidatorSet{
		Epoch:   uint64(C.hotstuff_validator_set_epoch(set)),
		Members: make([]Validator, C.hotstuff_validator_set_len(set)),
	}
	for i := range out.Members {
		v := &out.Members[i]
		var power C.uint64_t
		status := C.hotstuff_validator_set_at(set, C.size_t(i), v.Address.c(), &power)
		if status != C.HOTSTUFF_OK {
			panic("hotstuff: a validator set has no member below its length")
		}
		v.Power = uint64(power)
	}
	return out
}

// takeSet reads a set, and frees it.
func takeSet(set *cSet) ValidatorSet {
	out := readSet(set)
	C.hotstuff_validator_set_free(set)
	return out
}
