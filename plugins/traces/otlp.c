#include "otlp.h"

/* The messages, as opentelemetry-proto 1.x numbers their fields. What is not named is left out. */
#define FIELDS(list) .fields = list, .count = sizeof list / sizeof list[0]

static const otlp_message any_value, array_value, pair_list;

static const otlp_field any_value_fields[] = {
    {1, "stringValue", "string_value", OTLP_TEXT, false, NULL},
    {2, "boolValue", "bool_value", OTLP_BOOL, false, NULL},
    {3, "intValue", "int_value", OTLP_INT, false, NULL},
    {4, "doubleValue", "double_value", OTLP_DOUBLE, false, NULL},
    {5, "arrayValue", "array_value", OTLP_MESSAGE, false, &array_value},
    {6, "kvlistValue", "kvlist_value", OTLP_MESSAGE, false, &pair_list},
    {7, "bytesValue", "bytes_value", OTLP_BYTES, false, NULL},
};
static const otlp_message any_value = {FIELDS(any_value_fields), .one_of = true};

static const otlp_field array_value_fields[] = {{1, "values", "values", OTLP_MESSAGE, true, &any_value}};
static const otlp_message array_value = {FIELDS(array_value_fields)};

static const otlp_field attribute_fields[] = {
    {1, "key", "key", OTLP_TEXT, false, NULL},
    {2, "value", "value", OTLP_MESSAGE, false, &any_value},
};
const otlp_message otlp_attribute_message = {FIELDS(attribute_fields)};

static const otlp_field pair_list_fields[] = {{1, "values", "values", OTLP_MESSAGE, true, &otlp_attribute_message}};
static const otlp_message pair_list = {FIELDS(pair_list_fields)};

static const otlp_field resource_fields[] = {
    {1, "attributes", "attributes", OTLP_MESSAGE, true, &otlp_attribute_message},
    {2, "droppedAttributesCount", "dropped_attributes_count", OTLP_SMALL, false, NULL},
};
const otlp_message otlp_resource_message = {FIELDS(resource_fields)};

static const otlp_field scope_fields[] = {
    {1, "name", "name", OTLP_TEXT, false, NULL},
    {2, "version", "version", OTLP_TEXT, false, NULL},
    {3, "attributes", "attributes", OTLP_MESSAGE, true, &otlp_attribute_message},
    {4, "droppedAttributesCount", "dropped_attributes_count", OTLP_SMALL, false, NULL},
};
const otlp_message otlp_scope_message = {FIELDS(scope_fields)};

static const otlp_field event_fields[] = {
    {1, "timeUnixNano", "time_unix_nano", OTLP_FIXED64, false, NULL},
    {2, "name", "name", OTLP_TEXT, false, NULL},
    {3, "attributes", "attributes", OTLP_MESSAGE, true, &otlp_attribute_message},
    {4, "droppedAttributesCount", "dropped_attributes_count", OTLP_SMALL, false, NULL},
};
const otlp_message otlp_event_message = {FIELDS(event_fields)};

static const otlp_field link_fields[] = {
    {1, "traceId", "trace_id", OTLP_ID, false, NULL},
    {2, "spanId", "span_id", OTLP_ID, false, NULL},
    {3, "traceState", "trace_state", OTLP_TEXT, false, NULL},
    {4, "attributes", "attributes", OTLP_MESSAGE, true, &otlp_attribute_message},
    {5, "droppedAttributesCount", "dropped_attributes_count", OTLP_SMALL, false, NULL},
    {6, "flags", "flags", OTLP_FIXED32, false, NULL},
};
const otlp_message otlp_link_message = {FIELDS(link_fields)};

static const otlp_field status_fields[] = {
    {2, "message", "message", OTLP_TEXT, false, NULL},
    {3, "code", "code", OTLP_SMALL, false, NULL},
};
static const otlp_message status_message = {FIELDS(status_fields)};

static const otlp_field span_fields[] = {
    {1, "traceId", "trace_id", OTLP_ID, false, NULL},
    {2, "spanId", "span_id", OTLP_ID, false, NULL},
    {3, "traceState", "trace_state", OTLP_TEXT, false, NULL},
    {4, "parentSpanId", "parent_span_id", OTLP_ID, false, NULL},
    {5, "name", "name", OTLP_TEXT, false, NULL},
    {6, "kind", "kind", OTLP_SMALL, false, NULL},
    {7, "startTimeUnixNano", "start_time_unix_nano", OTLP_FIXED64, false, NULL},
    {8, "endTimeUnixNano", "end_time_unix_nano", OTLP_FIXED64, false, NULL},
    {9, "attributes", "attributes", OTLP_MESSAGE, true, &otlp_attribute_message},
    {11, "events", "events", OTLP_MESSAGE, true, &otlp_event_message},
    {13, "links", "links", OTLP_MESSAGE, true, &otlp_link_message},
    {15, "status", "status", OTLP_MESSAGE, false, &status_message},
};
const otlp_message otlp_span_message = {FIELDS(span_fields)};
