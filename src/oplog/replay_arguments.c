/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From the start options that a manifest keeps (the shape of getCmdLineOpts) to the command line that opens the files.
 * An option that is not known is an error: files opened without it may be misread, or made wrong.
 */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "oplog/replay.h"

#define DEEP_MAX 6
#define PATH_BYTES 256

enum shape {
    FLAG,     /* true: the argument; false: nothing */
    VALUE,    /* the argument and a text, number or truth */
    SAME,     /* has to be `argument`; says nothing on the command line */
    REFUSED,  /* true cannot be */
    NO_MATTER /* not for opening the files */
};
static const struct option {
    const char *path;
    enum shape shape;
    const char *argument;
} known[] = {
    {"storage.engine", SAME, "wiredTiger"},
    {"storage.directoryPerDB", FLAG, "--directoryperdb"},
    {"storage.wiredTiger.engineConfig.directoryForIndexes", FLAG,
     "--wiredTigerDirectoryForIndexes"},
    {"storage.wiredTiger.engineConfig.configString", VALUE, "--wiredTigerEngineConfigString"},
    {"storage.wiredTiger.collectionConfig.blockCompressor", VALUE,
     "--wiredTigerCollectionBlockCompressor"},
    {"storage.wiredTiger.indexConfig.prefixCompression", VALUE,
     "--wiredTigerIndexPrefixCompression"},
    {"security.enableEncryption", REFUSED, NULL},
    {"security.encryptionCipherMode", NO_MATTER, NULL},
};

struct building {
    struct hf_replay_arguments *out;
    size_t count;
};

void hf_replay_arguments_fini(struct hf_replay_arguments *arguments)
{
    for (size_t i = 0; arguments->values != NULL && arguments->values[i] != NULL; i++) {
        hf_free(arguments->values[i]);
    }
    hf_free(arguments->values);
    arguments->values = NULL;
}

static enum hf_err add(struct building *building, const char *text, struct hf_error *err)
{
    building->out->values[building->count] = hf_strdup(text);
    return building->out->values[building->count++] != NULL
               ? HF_ERR_OK
               : hf_fail(err, HF_ERR_NO_MEMORY, "start options");
}

/* A member of the manifest's object. */
struct member {
    const char *path; /* dotted */
    const struct hf_json *object, *value;
    const char *key;
};

static bool is_true(const struct member *member)
{
    return hf_json_get_bool(member->object, member->key, false);
}

static enum hf_err add_value(struct building *building, const char *argument,
                             const struct member *member, struct hf_error *err)
{
    char text[32];
    const char *given = hf_json_text(member->value);

    if (given == NULL) {
        switch (hf_json_type(member->value)) {
        case HF_JSON_BOOL:
            given = is_true(member) ? "true" : "false";
            break;
        case HF_JSON_INTEGER:
            (void)snprintf(text, sizeof text, "%lld", (long long)hf_json_integer(member->value, 0));
            given = text;
            break;
        case HF_JSON_NULL:
        case HF_JSON_REAL:
        case HF_JSON_TEXT:
        case HF_JSON_ARRAY:
        case HF_JSON_OBJECT:
            return hf_fail(err, HF_ERR_INVALID, "start option %s has no value", member->path);
        }
    }
    return add(building, argument, err) == HF_ERR_OK ? add(building, given, err) : err->code;
}

static enum hf_err take(struct building *building, const struct member *member,
                        struct hf_error *err)
{
    const char *path = member->path;
    size_t i = 0;

    while (i < HF_ARRAY_LEN(known) && strcmp(known[i].path, path) != 0) {
        i++;
    }
    if (i == HF_ARRAY_LEN(known)) {
        return hf_fail(err, HF_ERR_UNSUPPORTED,
                       "the source was started with %s, which is not known "
                       "here",
                       path);
    }
    const char *text = hf_json_text(member->value);
    switch (known[i].shape) {
    case FLAG:
        return is_true(member) ? add(building, known[i].argument, err) : HF_ERR_OK;
    case VALUE:
        return add_value(building, known[i].argument, member, err);
    case SAME:
        return text != NULL && strcmp(text, known[i].argument) == 0
                   ? HF_ERR_OK
                   : hf_fail(err, HF_ERR_UNSUPPORTED, "%s is \"%s\": only %s can be opened", path,
                             text != NULL ? text : "", known[i].argument);
    case REFUSED:
        return is_true(member)
                   ? hf_fail(
                         err, HF_ERR_UNSUPPORTED,
                         "the source's files are encrypted by its server (%s): their key is not "
                         "known here",
                         path)
                   : HF_ERR_OK;
    case NO_MATTER:
        break;
    }
    return HF_ERR_OK;
}

static enum hf_err walk(struct building *building, const struct hf_json *object, const char *prefix,
                        unsigned deep, struct hf_error *err)
{
    struct hf_json *value;
    const char *key;
    void *at = NULL;

    while ((key = hf_json_next(object, &at, &value)) != NULL) {
        char path[PATH_BYTES];
        int len = snprintf(path, sizeof path, "%s%s%s", prefix, prefix[0] != '\0' ? "." : "", key);
        if (len < 0 || (size_t)len >= sizeof path) {
            return hf_fail(err, HF_ERR_LIMIT, "a start option below %s has a very long name",
                           prefix);
        }
        if (hf_json_type(value) != HF_JSON_OBJECT) {
            struct member member = {.path = path, .object = object, .value = value, .key = key};
            if (take(building, &member, err) != HF_ERR_OK) {
                return err->code;
            }
        } else if (deep == DEEP_MAX) {
            return hf_fail(err, HF_ERR_LIMIT, "start option %s is nested too deep", path);
        } else if (walk(building, value, path, deep + 1, err) != HF_ERR_OK) {
            return err->code;
        }
    }
    return HF_ERR_OK;
}

enum hf_err hf_replay_arguments_make(const struct hf_json *engine_options,
                                     struct hf_replay_arguments *out, struct hf_error *err)
{
    HF_CLEANUP(hf_replay_arguments_fini)
    struct hf_replay_arguments arguments = {
        .values = hf_alloc_zero((2 * HF_ARRAY_LEN(known) + 1) * sizeof *arguments.values)};
    struct building building = {.out = &arguments};

    if (arguments.values == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "start options");
    }
    /* A key stands in an object once, so what is known has room. */
    if (engine_options != NULL && (hf_json_type(engine_options) != HF_JSON_OBJECT ||
                                   walk(&building, engine_options, "", 1, err) != HF_ERR_OK)) {
        return hf_json_type(engine_options) != HF_JSON_OBJECT
                   ? hf_fail(err, HF_ERR_INVALID, "start options are no object")
                   : err->code;
    }
    *out = arguments;
    arguments.values = NULL;
    return HF_ERR_OK;
}
