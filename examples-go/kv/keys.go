package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	hotstuff "libhotstuff/bindings/go"
)

// No key file is longer.
const keyFileMax = 256

// generateKey makes a key and writes it to a new file, PKCS#8, readable by its owner alone.
func generateKey(path string) (hotstuff.Address, error) {
	key, err := hotstuff.GenerateKeyPair()
	if err != nil {
		return hotstuff.Address{}, err
	}
	defer key.Close()
	der, err := key.PKCS8()
	if err != nil {
		return hotstuff.Address{}, err
	}
	defer clear(der)
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return hotstuff.Address{}, err
	}
	_, err = file.Write(der)
	err = errors.Join(err, file.Sync(), file.Close())
	if err != nil {
		os.Remove(path) // half a key is worse than none
	}
	return key.Address(), err
}

// loadKey refuses a file that others can read.
func loadKey(path string) (*hotstuff.KeyPair, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	about, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if about.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("%s: others may read this key: expected mode 0600 (chmod 600)", path)
	}
	der, err := io.ReadAll(io.LimitReader(file, keyFileMax))
	defer clear(der)
	if err != nil {
		return nil, err
	}
	key, err := hotstuff.ParseKeyPair(der)
	if err != nil {
		return nil, fmt.Errorf("%s: not a key made by `kv keygen`", path)
	}
	return key, nil
}
