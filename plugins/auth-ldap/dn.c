#include "connection.h"
#include <ldap.h>
#include <string.h>
#include <strings.h>

char *dn_normal(scratch *memory, const char *dn) {
  LDAPDN parts = NULL;
  char *text = NULL, *out = NULL;
  if (ldap_str2dn(dn, &parts, LDAP_DN_FORMAT_LDAPV3) != LDAP_SUCCESS) return NULL;
  if (ldap_dn2str(parts, &text, LDAP_DN_FORMAT_LDAPV3) == LDAP_SUCCESS && text)
    out = scratch_copy(memory, text, strlen(text));
  for (char *p = out; p && *p; p++)
    if (*p >= 'A' && *p <= 'Z') *p = (char)(*p - 'A' + 'a');
  ldap_memfree(text);
  ldap_dnfree(parts);
  return out;
}

char *dn_first_value(scratch *memory, const char *dn, const char *attribute_name) {
  LDAPDN parts = NULL;
  char *out = NULL;
  if (ldap_str2dn(dn, &parts, LDAP_DN_FORMAT_LDAPV3) != LDAP_SUCCESS || !parts) return NULL;
  for (size_t i = 0; parts[0] && parts[0][i] && !out; i++) {
    const LDAPAVA *part = parts[0][i];
    if (part->la_attr.bv_len == strlen(attribute_name) &&
        strncasecmp(part->la_attr.bv_val, attribute_name, part->la_attr.bv_len) == 0)
      out = scratch_copy(memory, part->la_value.bv_val, part->la_value.bv_len);
  }
  ldap_dnfree(parts);
  return out;
}
