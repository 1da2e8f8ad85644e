"""Every model in bf16, channels last and graphs beside eager fp32: one command, one table."""
