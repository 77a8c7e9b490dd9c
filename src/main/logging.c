/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The log's stream. A file that is opened anew takes the descriptor of the old one (dup2), so that threads which log
 * meanwhile notice nothing.
 */
#include "main/logging.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"

#define MODE 0640

enum hf_err hf_logging_level(const char *word, enum hf_log_level *out, struct hf_error *err)
{
    static const char *const words[] = {"debug", "info", "warn", "error"};

    for (size_t i = 0; i < HF_ARRAY_LEN(words); i++) {
        if (strcmp(words[i], word) == 0) {
            *out = (enum hf_log_level)i;
            return HF_ERR_OK;
        }
    }
    return hf_fail(err, HF_ERR_INVALID, "log level '%s' is none of debug, info, warn, error", word);
}

static enum hf_err open_file(const char *path, int *out, struct hf_error *err)
{
    *out = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY, MODE);
    return *out < 0 ? hf_fail_errno(err, errno, "log file %s", path) : HF_ERR_OK;
}

void hf_logging_close(struct hf_logging *logging)
{
    hf_log_destroy(logging->log);
    hf_free(logging->path);
    if (logging->file != NULL) {
        (void)fclose(logging->file); /* nothing is buffered: each line was written at once */
    }
    *logging = (struct hf_logging){.log = NULL};
}

enum hf_err hf_logging_open(const struct hf_logging_options *options, struct hf_logging *out,
                            struct hf_error *err)
{
    HF_CLEANUP(hf_logging_close) struct hf_logging logging = {.log = NULL};
    bool json = strcmp(options->format, "json") == 0;
    enum hf_log_level level = HF_LOG_INFO;
    int fd = -1;

    if (!json && strcmp(options->format, "text") != 0) {
        return hf_fail(err, HF_ERR_INVALID, "log format '%s' is none of text, json",
                       options->format);
    }
    if (hf_logging_level(options->level, &level, err) != HF_ERR_OK) {
        return err->code;
    }
    if (options->file[0] != '\0') {
        logging.path = hf_strdup(options->file);
        if (logging.path == NULL) {
            return hf_fail(err, HF_ERR_NO_MEMORY, "no memory");
        }
        if (open_file(logging.path, &fd, err) != HF_ERR_OK) {
            return err->code;
        }
        logging.file = fdopen(fd, "a");
        if (logging.file == NULL) {
            (void)close(fd);
            return hf_fail(err, HF_ERR_NO_MEMORY, "no memory");
        }
    }
    logging.log = hf_log_create(logging.file == NULL ? stderr : logging.file, level, json);
    if (logging.log == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "no memory");
    }
    *out = logging;
    logging = (struct hf_logging){.log = NULL};
    return HF_ERR_OK;
}

enum hf_err hf_logging_reopen(struct hf_logging *logging, struct hf_error *err)
{
    int fd = -1;

    if (logging->file == NULL) {
        return HF_ERR_OK;
    }
    if (open_file(logging->path, &fd, err) != HF_ERR_OK) {
        return err->code;
    }
    enum hf_err code = HF_ERR_OK;
    if (dup3(fd, fileno(logging->file), O_CLOEXEC) < 0) {
        code = hf_fail_errno(err, errno, "log file %s", logging->path);
    }
    (void)close(fd);
    return code;
}
