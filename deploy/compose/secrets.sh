#!/bin/sh
# Makes the secrets that compose.yaml names, in the folder `secrets` beside it, once. Wants openssl.
#
# The folder is yours alone (0700). Files in it can be read by everybody who reaches them, since Waybill runs as a user of its own in its containers.
set -eu
umask 022
cd "$(dirname "$0")"
if [ -e secrets ]; then
    echo "secrets/ is there already; nothing was made. Without its pepper no API key is recognised: keep it." >&2
    exit 1
fi
mkdir -m 0700 secrets
cd secrets

openssl rand -hex 32 > pepper
echo "wbo_$(openssl rand -hex 24)" > operator-token
openssl rand -hex 24 > ledger-password

# An authority for the connection between the planes, and a certificate for each role: the name that counts is the URI.
curve="-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes"
openssl req -x509 $curve -days 3650 -keyout ca.key -out ca.crt -subj "/CN=waybill-compose" \
    -addext "basicConstraints=critical,CA:TRUE" -addext "keyUsage=critical,keyCertSign,cRLSign" 2> /dev/null
for role in control proxy; do
    openssl req $curve -keyout "$role.key" -out "$role.csr" -subj "/CN=$role" 2> /dev/null
    printf 'basicConstraints=CA:FALSE\nkeyUsage=digitalSignature\nextendedKeyUsage=serverAuth,clientAuth\nsubjectAltName=URI:spiffe://waybill/%s/*\n' "$role" > "$role.ext"
    openssl x509 -req -in "$role.csr" -CA ca.crt -CAkey ca.key -CAcreateserial -days 825 -extfile "$role.ext" -out "$role.crt" 2> /dev/null
    rm "$role.csr" "$role.ext"
done
chmod 0444 ./*
chmod 0400 ca.key
