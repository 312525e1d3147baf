#include "plugin/host.h"
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#if defined(__x86_64__)
#define OUR_MACHINE EM_X86_64
#elif defined(__aarch64__)
#define OUR_MACHINE EM_AARCH64
#endif

enum { MOST_HEADERS = 64, LARGEST_NOTES = 64 * 1024 };

static purlin_status refuse(buffer *why, const char *path, const char *text) {
  buffer_format(why, "%s: %s", path, text);
  return PURLIN_INVALID;
}

static bool read_at(int file, void *into, size_t size, uint64_t offset) {
  return offset <= INT64_MAX && pread(file, into, size, (off_t)offset) == (ssize_t)size;
}

/* Notes follow one another: name size, descriptor size, type, name and descriptor padded to 4 bytes. */
static bool find_in_notes(const uint8_t *notes, size_t size, purlin_identity_note *note) {
  size_t at = 0;
  while (size - at >= 12) {
    uint32_t name_size, descriptor_size, type;
    memcpy(&name_size, notes + at, 4);
    memcpy(&descriptor_size, notes + at + 4, 4);
    memcpy(&type, notes + at + 8, 4);
    size_t name_room = ((size_t)name_size + 3) & ~(size_t)3, descriptor_room = ((size_t)descriptor_size + 3) & ~(size_t)3;
    if (name_room > size - at - 12 || descriptor_room > size - at - 12 - name_room) return false;
    if (type == PURLIN_NOTE_TYPE && name_size == sizeof note->owner && memcmp(notes + at + 12, "Purlin\0", 8) == 0) {
      size_t whole = 12 + (size_t)name_size + descriptor_size;
      memset(note, 0, sizeof *note);
      memcpy(note, notes + at, whole < sizeof *note ? whole : sizeof *note);
      note->name[sizeof note->name - 1] = '\0';
      note->version[sizeof note->version - 1] = '\0';
      return true;
    }
    at += 12 + name_room + descriptor_room;
  }
  return false;
}

/* A file that ends before a part of it does: the loader would map it all the same and die of SIGBUS. */
static bool is_cut(int file, const Elf64_Phdr *part) {
  struct stat about;
  if (fstat(file, &about) != 0) return true;
  uint64_t size = (uint64_t)about.st_size;
  return part->p_offset > size || part->p_filesz > size - part->p_offset;
}

static purlin_status check_parts(int file, const Elf64_Ehdr *head, const char *path, buffer *why) {
  for (unsigned i = 0; i < head->e_phnum; i++) {
    Elf64_Phdr part;
    if (!read_at(file, &part, sizeof part, head->e_phoff + (uint64_t)i * sizeof part) || is_cut(file, &part))
      return refuse(why, path, "is truncated; copy or build it again");
  }
  return PURLIN_OK;
}

static purlin_status read_note(int file, const char *path, purlin_identity_note *note, buffer *why) {
  Elf64_Ehdr head;
  if (!read_at(file, &head, sizeof head, 0) || memcmp(head.e_ident, ELFMAG, SELFMAG) != 0)
    return refuse(why, path, "is not a shared object (no ELF header)");
  if (head.e_ident[EI_CLASS] != ELFCLASS64 || head.e_machine != OUR_MACHINE)
    return refuse(why, path, "was built for another processor; build it on or for this kind of machine");
  if (head.e_phentsize != sizeof(Elf64_Phdr) || head.e_phnum > MOST_HEADERS)
    return refuse(why, path, "has program headers of an unknown kind");
  purlin_status whole = check_parts(file, &head, path, why);
  if (whole != PURLIN_OK) return whole;
  for (unsigned i = 0; i < head.e_phnum; i++) {
    Elf64_Phdr part;
    if (!read_at(file, &part, sizeof part, head.e_phoff + (uint64_t)i * sizeof part))
      return refuse(why, path, "is truncated");
    if (part.p_type != PT_NOTE || part.p_filesz > LARGEST_NOTES) continue;
    _Alignas(8) uint8_t notes[LARGEST_NOTES];
    if (!read_at(file, notes, part.p_filesz, part.p_offset)) return refuse(why, path, "is truncated");
    if (find_in_notes(notes, part.p_filesz, note)) return PURLIN_OK;
  }
  return refuse(why, path, "is no Purlin plugin: it holds no PURLIN_PLUGIN(\"name\", \"version\", ...)");
}

/* Each difference in a line of its own, then what to do. */
static purlin_status compare(const char *path, const purlin_identity_note *note, buffer *why) {
  size_t before = why->size;
  if (note->abi_major != PURLIN_ABI_MAJOR)
    buffer_format(why, "\n  ABI major: the plugin has %u, this host has %u", note->abi_major, PURLIN_ABI_MAJOR);
  else if (note->abi_minor > PURLIN_ABI_MINOR)
    buffer_format(why, "\n  ABI minor: the plugin needs at least %u.%u, this host has %u.%u", note->abi_major,
                  note->abi_minor, PURLIN_ABI_MAJOR, PURLIN_ABI_MINOR);
  if (note->manifest_size > sizeof(purlin_manifest))
    buffer_format(why, "\n  manifest: the plugin's is %u bytes, this host knows %zu", note->manifest_size,
                  sizeof(purlin_manifest));
  if (note->name[0] == '\0') buffer_text(why, "\n  name: empty");
  if (why->size == before) return PURLIN_OK;
  bool older = note->abi_major < PURLIN_ABI_MAJOR;
  buffer_format(why, "\n  %s: %s", path,
                older ? "rebuild the plugin with this release's SDK"
                      : "install a newer purlin, or a plugin built for this one");
  return PURLIN_INVALID;
}

purlin_status plugin_identify(const char *path, purlin_identity_note *note, buffer *why) {
  int file = open(path, O_RDONLY | O_CLOEXEC);
  if (file < 0) return refuse(why, path, strerror(errno));
  purlin_status status = read_note(file, path, note, why);
  (void)close(file);
  return status == PURLIN_OK ? compare(path, note, why) : status;
}
