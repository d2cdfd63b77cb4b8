"""The network in eight-bit integers, measured against its float self."""
