#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Make a tiny guest in a folder: vmlinuz of Debian's cloud kernel, and an
# initramfs.gz of busybox, the virtio modules and the init beside this file.
# The kernel is downloaded once. Exits 77, with the reason, if it cannot be.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$1"
cd "$1"
if [ ! -e vmlinuz ]; then
	name=$(apt-cache depends linux-image-cloud-amd64 |
		sed -n 's/^ *Depends: \(linux-image-[^ ]*\)/\1/p' | head -n 1)
	[ -n "$name" ] || { echo "no linux-image-cloud-amd64 in apt's lists"; exit 77; }
	rm -rf package && mkdir package
	(cd package && apt-get -qq download "$name" 2>/dev/null) ||
		{ echo "cannot download $name"; exit 77; }
	dpkg -x package/*.deb package
	cp package/boot/vmlinuz-* vmlinuz.new
	mkdir -p root/bin root/lib
	for m in virtio virtio_ring virtio_pci virtio_pci_modern_dev \
		virtio_pci_legacy_dev virtio_blk; do
		cp "$(find package -name "$m.ko")" root/lib/
	done
	rm -rf package
	mv vmlinuz.new vmlinuz
fi
cp /bin/busybox root/bin/busybox
cp "$here/init" root/init
chmod 755 root/init
(cd root && find . | cpio -o -H newc --quiet) | gzip -1 >initramfs.new
mv initramfs.new initramfs.gz
