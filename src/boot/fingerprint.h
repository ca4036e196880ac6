/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fingerprint.h - a few blocks that tell two images apart
 *
 * Where a store has no version (NBD), an image is known by its size and by a
 * hash (XXH3, 64 bits) of FINGERPRINT_BLOCKS blocks: the first, the last whole
 * one, and others spread over the image where file systems keep what changes
 * (the super block, group descriptors) and evenly.
 */
#ifndef BOOT_FINGERPRINT_H
#define BOOT_FINGERPRINT_H

#include <stdint.h>

#define FINGERPRINT_BLOCKS 8u

/**
 * fingerprint_blocks() - which blocks to read
 * @size:	bytes of the image
 * @blocks:	filled with block numbers in ascending order, each once
 *
 * Return: how many; fewer for a tiny image.
 */
uint32_t fingerprint_blocks(uint64_t size, uint32_t blocks[FINGERPRINT_BLOCKS]);

/** fingerprint() - of @len bytes: those blocks, one after another */
uint64_t fingerprint(uint64_t size, const void *bytes, uint64_t len);

#endif
