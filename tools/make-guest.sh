#!/bin/sh
# Make the demo's guest from Debian 12's packages, and print its directory:
#	disk.raw	3 GiB, ext4 without a partition table, root=/dev/vda
#	vmlinuz		the kernel, and
#	initrd.img	its initial file system, for QEMU's -kernel and -initrd
#
# The result stays in $ROOST_CACHE (.cache beside this directory) and is made
# once per version of this script: its hash is in the directory's name. It is
# renamed into place when all of it is there, so a directory that exists is
# whole. Takes about two minutes and needs root, or else a user that may
# have user namespaces with subordinate ids (/etc/subuid).
#
# The guest is a stock Debian but for one unit. With roost.done on the kernel
# command line it says "BOOT-DONE UPTIME IDLE" on the serial line when
# multi-user is reached, and powers off.
set -eu

top=$(cd "$(dirname "$0")/.." && pwd)
cache=${ROOST_CACHE:-$top/.cache}
key=$(sha256sum <"$0" | cut -c1-12)
guest=$cache/guest/$key
size=3G
packages=systemd,systemd-sysv,dbus,udev,kmod,openssh-server,nginx-light,cron
packages=$packages,rsyslog,chrony,linux-image-cloud-amd64,initramfs-tools
# The same file system whenever the same packages are given.
uuid=6f6f7374-0000-4000-8000-000000000012
export SOURCE_DATE_EPOCH=1735689600 E2FSPROGS_FAKE_TIME=1735689600

die() {
	echo "make-guest: $*" >&2
	exit 1
}

# In a user namespace of our own unless we are root. mkfs must see the owners
# that the guest is to have, so it runs there too.
as_root() {
	if [ "$(id -u)" = 0 ]; then
		"$@"
	else
		mmdebstrap --unshare-helper "$@"
	fi
}

# The host's own Debian mirror and proxy, where it has them.
mirror() {
	apt-get indextargets --format '$(REPO_URI) $(CODENAME) $(COMPONENT)' \
		'Created-By: Packages' 2>/dev/null |
		sed -n 's|/* bookworm main$||p' | head -n 1
}

if [ -d "$guest" ]; then
	echo "$guest"
	exit 0
fi
for tool in mmdebstrap mkfs.ext4 sha256sum; do
	command -v $tool >/dev/null || [ -x /usr/sbin/$tool ] ||
		die "$tool is missing: run make deps"
done
PATH=$PATH:/usr/sbin:/sbin

mkdir -p "$cache/guest" || die "$cache/guest: cannot be made"
# One build at a time: the second waits, and finds the first one's result.
exec 9>"$cache/guest.lock"
flock 9
if [ -d "$guest" ]; then
	echo "$guest"
	exit 0
fi

tmp=$(mktemp -d "$cache/guest/tmp.XXXXXX")
trap 'as_root rm -rf "$tmp/tree" 9>&-; rm -rf "$tmp"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
mkdir "$tmp/out"
mode=root
if [ "$(id -u)" != 0 ]; then
	mode=unshare
	chmod 0755 "$cache" "$cache/guest"
	chmod 0777 "$tmp" "$tmp/out"
fi

m=${ROOST_MIRROR:-$(mirror)}
m=${m:-http://deb.debian.org/debian}
proxy=
eval "$(apt-config shell proxy Acquire::http::Proxy 2>/dev/null || true)"

mkdir "$tmp/extra"
cat >"$tmp/extra/boot-done.service" <<-'END'
	[Unit]
	Description=Say that the boot is done
	ConditionKernelCommandLine=roost.done
	After=multi-user.target

	[Service]
	Type=oneshot
	ExecStart=/bin/sh -c 'echo "BOOT-DONE $(cat /proc/uptime)" >/dev/ttyS0; exec systemctl poweroff -ff'

	[Install]
	WantedBy=multi-user.target
END
echo '/dev/vda / ext4 errors=remount-ro 0 1' >"$tmp/extra/fstab"
echo guest >"$tmp/extra/hostname"

echo "make-guest: a Debian 12 guest from $m, about two minutes" >&2
# Without the host's standard input: nothing may ask.
mmdebstrap --mode=$mode --variant=minbase --include="$packages" --quiet \
	--aptopt='Acquire::Languages "none"' \
	--aptopt='Acquire::Retries "3"' \
	${proxy:+--aptopt="Acquire::http::Proxy \"$proxy\""} \
	--dpkgopt=force-unsafe-io \
	--customize-hook="upload $tmp/extra/fstab /etc/fstab" \
	--customize-hook="upload $tmp/extra/hostname /etc/hostname" \
	--customize-hook="upload $tmp/extra/boot-done.service /etc/systemd/system/boot-done.service" \
	--customize-hook='chroot "$1" systemctl -q enable boot-done.service' \
	--customize-hook='chroot "$1" systemctl -q set-default multi-user.target' \
	--customize-hook='chroot "$1" passwd -q -d root' \
	bookworm "$tmp/tree" "deb $m bookworm main" \
	</dev/null >"$tmp/log" 2>&1 9>&- || {
	tail -n 20 "$tmp/log" >&2
	die "mmdebstrap failed (above); ROOST_MIRROR names another mirror"
}

# Tables written now rather than by the guest's first minutes.
as_root sh -euc '
	cp "$1"/boot/vmlinuz-* "$2/vmlinuz"
	cp "$1"/boot/initrd.img-* "$2/initrd.img"
	mkfs.ext4 -q -F -L root -U "$3" \
		-E "hash_seed=$3,lazy_itable_init=0,lazy_journal_init=0" \
		-d "$1" "$2/disk.raw" "$4"
	chmod 0644 "$2"/*
' sh "$tmp/tree" "$tmp/out" "$uuid" "$size" >"$tmp/log" 2>&1 9>&- || {
	tail -n 20 "$tmp/log" >&2
	die "no image made of it (above)"
}

# A result made in a user namespace belongs to somebody else: make it ours.
mkdir "$tmp/guest"
cp --sparse=always "$tmp/out"/* "$tmp/guest/"
chmod 0755 "$tmp/guest"
chmod 0444 "$tmp/guest"/*
sync -f "$tmp/guest"
mv "$tmp/guest" "$guest"
echo "$guest"
