"""The project's one version number, for the package build, HELLO and `rfprobe --version`."""

VERSION = "0.1.0"
