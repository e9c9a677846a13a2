"""The code location that workspace.yaml names."""

from orchestration.build import build_definitions

defs = build_definitions()
