#!/bin/sh
# Greets the client by its address.
printf 'Content-Type: text/plain\n\nhello %s, this is %s\n' "$REMOTE_ADDR" "$SCRIPT_NAME"
