/* SPDX-License-Identifier: Apache-2.0 */
/* replay.c - run a fuzz target over each file of the folders named */
#include <dirent.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#define INPUT_MAX (4u << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int replay(const char *path)
{
	FILE *file = fopen(path, "rb");
	uint8_t *data;
	size_t n;

	if (!file) {
		perror(path);
		return 1;
	}
	data = malloc(INPUT_MAX);
	n = data ? fread(data, 1, INPUT_MAX, file) : 0;
	/* Exactly as many bytes as there are, so that ASan sees one more. */
	data = realloc(data, n ? n : 1);
	if (data)
		(void)LLVMFuzzerTestOneInput(data, n);
	free(data);
	(void)fclose(file);
	return 0;
}

int main(int argc, char **argv)
{
	int bad = 0, count = 0;

	for (int i = 1; i < argc; i++) {
		DIR *dir = opendir(argv[i]);
		struct dirent *entry;

		if (!dir) {
			perror(argv[i]);
			return 1;
		}
		while ((entry = readdir(dir))) {
			char path[PATH_MAX];

			if (entry->d_name[0] == '.')
				continue;
			(void)snprintf(path, sizeof(path), "%s/%s", argv[i],
				       entry->d_name);
			bad += replay(path);
			count++;
		}
		(void)closedir(dir);
	}
	printf("%d inputs\n", count);
	return bad || !count;
}
