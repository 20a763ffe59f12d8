#!/bin/sh
# Makes a virtual environment of pinned wheels in the folder tree $1 that is becoming an image. The host's certificates
# stay outside the image.
set -eu
root=$1
cp "$HARNESS_CA_BUNDLE" "$root/tmp/ca.pem"
cp "$HARNESS_REQUIREMENTS" "$root/tmp/requirements.txt"
chroot "$root" env -u PIP_FIND_LINKS -u SSL_CERT_DIR \
    PIP_CERT=/tmp/ca.pem SSL_CERT_FILE=/tmp/ca.pem REQUESTS_CA_BUNDLE=/tmp/ca.pem \
    sh -eu -c '
        python3 -m venv /opt/environment
        /opt/environment/bin/python -m pip install --quiet --no-input --no-cache-dir --disable-pip-version-check \
            --require-hashes --only-binary :all: --requirement /tmp/requirements.txt
        # Compiled once here rather than at every start.
        /opt/environment/bin/python -m compileall -q /opt/environment/lib || true
    '
rm "$root/tmp/ca.pem" "$root/tmp/requirements.txt"
