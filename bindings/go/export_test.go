package hotstuff

// Handles is how many handles C holds.
func Handles() int64 { return handles.Load() }

// Recode decodes and encodes a block through C.
func Recode(genesis Hash, encoded []byte) ([]byte, error) {
	block, err := decodeBlock(genesis, encoded)
	if err != nil {
		return nil, err
	}
	return encodeBlock(block)
}

// CompareVersions is compareVersions.
func CompareVersions(headerABI, headerNumber, libraryABI, libraryNumber uint32) error {
	return compareVersions(versions{headerABI, headerNumber}, versions{libraryABI, libraryNumber})
}
