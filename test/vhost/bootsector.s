# SPDX-License-Identifier: Apache-2.0
# bootsector.s - what a BIOS boots from the disk: it loads the second sector
# with int 13h, writes the text there to the serial port and ends QEMU.
	.code16
	.globl _start
_start:
	cli
	xor %ax, %ax
	mov %ax, %ds
	mov %ax, %ss
	mov $0x7c00, %sp
	mov $packet, %si
	mov $0x42, %ah
	int $0x13
	jc fail
	mov $0x8000, %si
next:
	lodsb
	test %al, %al
	jz end
	mov $0x3f8, %dx
	outb %al, %dx
	jmp next
fail:
	mov $0x3f8, %dx
	mov $'!', %al
	outb %al, %dx
end:
	mov $0xf4, %dx
	outb %al, %dx
	hlt
packet:
	.byte 16, 0
	.word 1
	.word 0x8000, 0
	.quad 1
	.org 510
	.word 0xaa55
