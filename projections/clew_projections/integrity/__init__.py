"""``clew verify``: hash chains, Merkle trees over their heads, inclusion proofs and checkpoints."""
