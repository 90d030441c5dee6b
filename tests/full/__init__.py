"""Slow tests with real shells, servers, browsers, full disks and clean installs."""
