// The copies of this library in the process, one for each copy of the package that was loaded from a
// file of its own. Those of one version share the one that was loaded first, and with it its pools.
//
// Every copy has a note in its file, which the loader keeps in memory: so a copy finds the others
// without asking the loader for a symbol of every library of the process. The loader lists libraries
// in the order in which they were loaded, and none of these is ever unloaded.

#include <dlfcn.h>
#include <elf.h>
#include <link.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "bun_cuda_memory.h"

enum { PATH_BYTE_SIZE_MAX = 4096, NOTE_TYPE_VERSION = 1 };

#define NOTE_NAME "bun-cuda-memory"

struct version_note {
    ElfW(Nhdr) header;
    char name[sizeof NOTE_NAME];
    char version[24];
};

_Static_assert(sizeof NOTE_NAME % 4 == 0, "the parts of a note are aligned by four bytes");

__attribute__((section(".note.bun_cuda_memory"), used,
               aligned(4))) static const struct version_note own_note = {
    .header = {.n_namesz = sizeof NOTE_NAME,
               .n_descsz = sizeof own_note.version,
               .n_type = NOTE_TYPE_VERSION},
    .name = NOTE_NAME,
    .version = MEMORY_VERSION,
};

// A library that is unloaded with the thread that loaded it would take the pools with it.
__attribute__((constructor)) static void keep_loaded(void)
{
    Dl_info info;
    if (dladdr(&own_note, &info) != 0) {
        (void)dlopen(info.dli_fname, RTLD_LAZY | RTLD_NOLOAD | RTLD_NODELETE);
    }
}

static const struct version_note *find_note(const struct dl_phdr_info *library)
{
    for (int i = 0; i < library->dlpi_phnum; i++) {
        const ElfW(Phdr) *segment = &library->dlpi_phdr[i];
        if (segment->p_type != PT_NOTE) continue;
        const char *at = (const char *)(library->dlpi_addr + segment->p_vaddr);
        const char *end = at + segment->p_memsz;
        while (at + sizeof(struct version_note) <= end) {
            const struct version_note *note = (const void *)at;
            if (note->header.n_namesz == sizeof NOTE_NAME &&
                memcmp(note->name, NOTE_NAME, sizeof NOTE_NAME) == 0) {
                return note;
            }
            at += sizeof note->header + (note->header.n_namesz + 3) / 4 * 4 +
                  (note->header.n_descsz + 3) / 4 * 4;
        }
    }
    return NULL;
}

struct search {
    bool has_first;
    char first_path[PATH_BYTE_SIZE_MAX];
    bool is_first_own;
    char other_version[sizeof own_note.version];
    char other_path[PATH_BYTE_SIZE_MAX];
};

static int look_at(struct dl_phdr_info *library, size_t size, void *context)
{
    (void)size;
    struct search *search = context;
    const struct version_note *note = find_note(library);
    if (note == NULL) return 0;
    if (strncmp(note->version, own_note.version, sizeof note->version) != 0) {
        snprintf(search->other_version, sizeof search->other_version, "%s", note->version);
        snprintf(search->other_path, sizeof search->other_path, "%s", library->dlpi_name);
    } else if (!search->has_first) {
        search->has_first = true;
        search->is_first_own = note == &own_note;
        snprintf(search->first_path, sizeof search->first_path, "%s", library->dlpi_name);
    }
    return 0;
}

const char *library_of_process(void)
{
    static _Thread_local struct search search;
    search = (struct search){0};
    dl_iterate_phdr(look_at, &search);
    return !search.has_first || search.is_first_own ? "" : search.first_path;
}

const char *library_of_other_version(void)
{
    static _Thread_local char text[PATH_BYTE_SIZE_MAX + sizeof own_note.version + 16];
    static atomic_bool was_told;
    struct search search = {0};
    dl_iterate_phdr(look_at, &search);
    if (search.other_version[0] == '\0' || atomic_exchange(&was_told, true)) return "";
    snprintf(text, sizeof text, "%s (%s)", search.other_version, search.other_path);
    return text;
}

const char *library_own_path(void)
{
    static _Thread_local char path[PATH_BYTE_SIZE_MAX];
    Dl_info info;
    if (dladdr(&own_note, &info) == 0) return "";
    snprintf(path, sizeof path, "%s", info.dli_fname);
    return path;
}
