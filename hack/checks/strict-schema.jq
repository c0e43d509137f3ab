# An OpenAPI v3 document of one API group version, as `kubectl get --raw /openapi/v3/...` gives it, made strict: a field that the
# API does not know is an error, as it is for `kubectl apply --validate=strict`.

# Schema by schema, not key by key: a property may itself be called "properties" (it is, in CustomResourceDefinition).
def strict:
  (if has("properties") then .properties |= map_values(strict) else . end)
  | (if has("items") then .items |= strict else . end)
  | (if (.additionalProperties | type) == "object" then .additionalProperties |= strict else . end)
  | reduce ("allOf", "anyOf", "oneOf") as $each (.; if has($each) then .[$each] |= map(strict) else . end)
  | (if has("properties") and (has("additionalProperties") | not) and (."x-kubernetes-preserve-unknown-fields" != true)
     then .additionalProperties = false else . end);

.components.schemas |= map_values(strict)
