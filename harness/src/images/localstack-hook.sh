#!/bin/sh
# Installs LocalStack into the folder tree $1 that is becoming an image. The versions are those
# that the package index had on the day given; the host's certificates stay outside the image.
set -eu
root=$1
cp "$HARNESS_CA_BUNDLE" "$root/tmp/ca.pem"
chroot "$root" env -u PIP_FIND_LINKS -u SSL_CERT_DIR \
    PIP_CERT=/tmp/ca.pem SSL_CERT_FILE=/tmp/ca.pem \
    REQUESTS_CA_BUNDLE=/tmp/ca.pem CURL_CA_BUNDLE=/tmp/ca.pem \
    sh -eu -c '
        python3 -m venv /opt/localstack
        /opt/localstack/bin/pip install --quiet --disable-pip-version-check uv
        /opt/localstack/bin/uv pip install --quiet --no-cache --python /opt/localstack/bin/python \
            --exclude-newer 2025-11-01 "localstack-core[runtime]==4.9.2"
        /opt/localstack/bin/pip uninstall --quiet --yes uv
        rm -rf /root/.cache /root/.local/share/uv
        # Compiled once here rather than at every start.
        /opt/localstack/bin/python -m compileall -q /opt/localstack/lib || true
    '
# What LocalStack makes at its first start, made once here: the index of the services of AWS, that of
# its own plugins, and a certificate. The variables are those of a container of the image.
chroot "$root" env -i HOME=/root OVERRIDE_IN_DOCKER=1 PYTHONSAFEPATH=1 \
    PATH=/opt/localstack/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    sh -eu -c '
        mkdir -p /usr/lib/localstack
        python -c "
from localstack import config
from localstack.utils.ssl import create_ssl_cert
from plux.runtime.cache import EntryPointsCache

config.dirs.mkdirs()
create_ssl_cert(serial_number=4566)
EntryPointsCache.instance().get_entry_points()
"
        python -m localstack.aws.spec
    '
rm "$root/tmp/ca.pem"
