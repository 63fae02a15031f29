#!/usr/bin/env bash
# The suite starts this before every build. Chiffre needs no other library.
exit 0
