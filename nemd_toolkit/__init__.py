"""Prototype-collapse diagnostics with NEMD."""
