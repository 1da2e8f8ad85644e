"""Studies of the suite and of its methods: used from a checkout, not part of the wheel."""
