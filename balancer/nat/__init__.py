"""Listeners of mode nat: the kernel forwards, by rules of nftables in a table of ours. Nothing here carries a byte."""
