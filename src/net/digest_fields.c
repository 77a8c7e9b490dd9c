/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads an Authorization header of the Digest scheme: name=value pairs, values as tokens or quoted
 * strings, in any order. What the names mean is digest.c's.
 */
#include <string.h>

#include "base/alloc.h"
#include "net/digest_internal.h"
#include "net/http.h"

struct scanner {
    const char *at; /* what is left of the header */
    char *to;       /* where the next text goes */
};

static bool is_space(char c)
{
    return c == ' ' || c == '\t';
}

static void skip_space(struct scanner *scanner)
{
    while (is_space(*scanner->at)) {
        scanner->at++;
    }
}

static bool ends_token(char c)
{
    return c == '\0' || c == ',' || c == '=' || c == '"' || is_space(c);
}

static const char *take_token(struct scanner *scanner)
{
    const char *token = scanner->to;

    while (!ends_token(*scanner->at)) {
        *scanner->to++ = *scanner->at++;
    }
    *scanner->to++ = '\0';
    return token;
}

/* NULL when the quotation does not end. */
static const char *take_quoted(struct scanner *scanner)
{
    const char *text = scanner->to;

    scanner->at++;
    while (*scanner->at != '"') {
        if (*scanner->at == '\\') {
            scanner->at++;
        }
        if (*scanner->at == '\0') {
            return NULL;
        }
        *scanner->to++ = *scanner->at++;
    }
    scanner->at++;
    *scanner->to++ = '\0';
    return text;
}

/* Where the value of that name belongs; NULL for a name that means nothing here. */
static const char **field_of(struct hf_digest_fields *fields, const char *name)
{
    const struct {
        const char *name;
        const char **field;
    } known[] = {
        {"username", &fields->username}, {"realm", &fields->realm},
        {"nonce", &fields->nonce},       {"uri", &fields->uri},
        {"response", &fields->response}, {"algorithm", &fields->algorithm},
        {"cnonce", &fields->cnonce},     {"nc", &fields->nc},
        {"qop", &fields->qop},
    };

    for (size_t i = 0; i < HF_ARRAY_LEN(known); i++) {
        if (hf_http_name_equal(name, known[i].name)) {
            return known[i].field;
        }
    }
    return NULL;
}

static bool take_pair(struct scanner *scanner, struct hf_digest_fields *fields, const char **why)
{
    const char *name = take_token(scanner);

    skip_space(scanner);
    if (*name == '\0' || *scanner->at != '=') {
        *why = "not a list of name=value";
        return false;
    }
    scanner->at++;
    skip_space(scanner);
    const char *value = *scanner->at == '"' ? take_quoted(scanner) : take_token(scanner);
    if (value == NULL) {
        *why = "a quotation does not end";
        return false;
    }
    skip_space(scanner);
    if (*scanner->at != ',' && *scanner->at != '\0') {
        *why = "not a list of name=value";
        return false;
    }
    const char **field = field_of(fields, name);
    if (field != NULL && *field != NULL) {
        *why = "a field is given twice";
        return false;
    }
    if (field != NULL) {
        *field = value;
    }
    return true;
}

enum hf_digest_parsed hf_digest_fields_parse(const char *header, struct hf_digest_fields *fields,
                                             const char **why)
{
    struct hf_digest_fields parsed = {0};
    struct scanner scanner = {.at = header};
    static const char scheme[] = "digest";

    skip_space(&scanner);
    size_t len = strlen(scanner.at);
    if (len > HF_DIGEST_HEADER_MAX_BYTES) {
        *why = "the header is too long";
        return HF_DIGEST_BROKEN;
    }
    /* Every text is shorter than what it came from, but for its NUL, and a pair has at least "="
     * and most often a comma; 2 are for the last pair and for an empty name. */
    HF_CLEANUP(hf_free) char *text = hf_alloc(2 * len + 4);
    if (text == NULL) {
        *why = "no memory";
        return HF_DIGEST_BROKEN;
    }
    scanner.to = text;
    if (!hf_http_name_equal(take_token(&scanner), scheme) || !is_space(*scanner.at)) {
        *why = "another scheme";
        return HF_DIGEST_OTHER_SCHEME;
    }
    scanner.to = text;
    for (;;) {
        while (is_space(*scanner.at) || *scanner.at == ',') {
            scanner.at++; /* empty list elements are allowed */
        }
        if (*scanner.at == '\0') {
            break;
        }
        if (!take_pair(&scanner, &parsed, why)) {
            return HF_DIGEST_BROKEN;
        }
    }
    *fields = parsed;
    fields->text = HF_TAKE(text);
    return HF_DIGEST_PARSED;
}

void hf_digest_fields_fini(struct hf_digest_fields *fields)
{
    hf_free(fields->text);
    *fields = (struct hf_digest_fields){0};
}
