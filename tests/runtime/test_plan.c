/* Plan files: what is read from good ones, and that bad ones are refused: cut, flipped, with stale and with right checksums. */
#include "plan_builder.h"

#include <math.h>
#include <stdio.h>
#include <unistd.h>

static mien_env *env;

static int setup(void **state) {
  (void)state;
  return mien_env_create(NULL, &env, NULL) != MIEN_OK;
}

static int teardown(void **state) {
  (void)state;
  mien_env_destroy(env);
  return 0;
}

static Mien__Plan__Recipe *add_recipe(pb *b, uint32_t constant) {
  Mien__Plan__Recipe *r = PB_NEW(b, Mien__Plan__Recipe, MIEN__PLAN__RECIPE__INIT);
  r->constant = constant;
  pb_push(b, &b->names.recipes, &b->names.n_recipes, r);
  return r;
}

static void add_leaf(pb *b, Mien__Plan__Recipe *r, const char *name) {
  Mien__Plan__RecipeLeaf *leaf = PB_NEW(b, Mien__Plan__RecipeLeaf, MIEN__PLAN__RECIPE_LEAF__INIT);
  leaf->initializer = pb_text(b, name);
  pb_push(b, &r->leaves, &r->n_leaves, leaf);
}

static void add_step(pb *b, Mien__Plan__Recipe *r, const char *op, const uint32_t *in, size_t count) {
  Mien__Plan__RecipeStep *step = PB_NEW(b, Mien__Plan__RecipeStep, MIEN__PLAN__RECIPE_STEP__INIT);
  step->op = pb_text(b, op);
  step->inputs = pb_ids(b, in, count);
  step->n_inputs = count;
  step->outputs = 1;
  pb_push(b, &r->steps, &r->n_steps, step);
}

/* A bit of everything that a plan can hold. */
static void rich(pb *b) {
  pb_init(b);
  uint32_t x = pb_input(b, "image", MIEN_F32, 4, PB_DIMS(-1, 3, 8, 8));
  float weights[7 * 3] = {0};
  for (int i = 0; i < 21; i++) weights[i] = (float)i / 8;
  uint32_t w = pb_constant(b, MIEN_F32, 4, PB_DIMS(1, 3, 1, 1), weights);
  uint32_t shape = pb_constant(b, MIEN_I64, 1, PB_DIMS(2), (const int64_t[]){0, -1});
  uint32_t mask = pb_constant(b, MIEN_BOOL, 1, PB_DIMS(2), (const uint8_t[]){1, 0});
  uint32_t h = pb_node(b, "Add", 14, PB_IDS(x, w));
  uint32_t flat = pb_node(b, "Reshape", 14, PB_IDS(pb_node(b, "Relu", 14, PB_IDS(h)), shape));
  pb_attribute(b, pb_last(b), "allowzero", 'i')->i = 0;
  uint32_t soft = pb_node(b, "Softmax", 13, PB_IDS(flat));
  pb_attribute(b, pb_last(b), "axis", 'i')->i = -1;
  pb_output(b, "p", soft, MIEN_F32, 2, PB_DIMS(-1, 192));
  pb_output(b, "mask", mask, MIEN_BOOL, 1, PB_DIMS(2));
  pb_name(b, h, "/net/Add_output_0", NULL);
  pb_name(b, 0, "/net/Identity_output_0", "/net/Add_output_0");
  Mien__Plan__Recipe *r = add_recipe(b, 1);
  add_leaf(b, r, "VIT.blocks.0.attn.qkv.weight");
  add_step(b, r, "Transpose", PB_IDS(1));
  add_step(b, r, "Slice", PB_IDS(2));
  r->result = 3;
  Mien__Plan__Picture *p = b->meta.picture = PB_NEW(b, Mien__Plan__Picture, MIEN__PLAN__PICTURE__INIT);
  p->input = pb_text(b, "image");
  p->width = p->height = 8;
  p->resize = pb_text(b, "pillow-bilinear");
  p->color = pb_text(b, "RGB");
  p->scale = 255;
  p->n_mean = p->n_std = 3;
  p->mean = memcpy(pb_alloc(b, 12), (const float[]){0.485f, 0.456f, 0.406f}, 12);
  p->std = memcpy(pb_alloc(b, 12), (const float[]){0.229f, 0.224f, 0.225f}, 12);
  pb_push(b, &b->meta.labels, &b->meta.n_labels, pb_text(b, "happy"));
  pb_push(b, &b->meta.labels, &b->meta.n_labels, pb_text(b, "s\"ad"));
  b->meta.converter = pb_text(b, "mien 0.1.0");
  b->meta.source_sha256 = (ProtobufCBinaryData){.len = 2, .data = memcpy(pb_alloc(b, 2), "\xab\x01", 2)};
  Mien__Plan__GoldenInput *in = PB_NEW(b, Mien__Plan__GoldenInput, MIEN__PLAN__GOLDEN_INPUT__INIT);
  in->name = pb_text(b, "image");
  in->type = pb_type(b, MIEN_F32, 4, PB_DIMS(2, 3, 8, 8));
  in->seed = UINT64_C(18446744073709551615);
  pb_push(b, &b->check.inputs, &b->check.n_inputs, in);
  Mien__Plan__GoldenValue *v = PB_NEW(b, Mien__Plan__GoldenValue, MIEN__PLAN__GOLDEN_VALUE__INIT);
  v->name = pb_text(b, "p");
  v->output = 1;
  v->type = pb_type(b, MIEN_F32, 2, PB_DIMS(2, 192));
  v->n_index = v->n_expected = 1;
  v->index = memcpy(pb_alloc(b, 8), &(const uint64_t){383}, 8);
  v->expected = memcpy(pb_alloc(b, 8), &(const double){0.005}, 8);
  v->tolerance = 1;
  pb_push(b, &b->check.values, &b->check.n_values, v);
}

static mien_plan *open_plan(const pb *b, uint32_t flags) {
  mien_plan *plan = NULL;
  mien_error error = {0};
  if (pb_open(b, env, flags, &plan, &error) != MIEN_OK) fail_msg("%s", error.message);
  return plan;
}

/* ---- good plans */

static void facts_are_read(void **state) {
  (void)state;
  pb b;
  rich(&b);
  mien_plan *plan = open_plan(&b, 0);
  pb_free(&b);
  mien_port port;
  mien_picture picture;
  size_t count;
  assert_int_equal(mien_plan_input_count(plan), 1);
  assert_int_equal(mien_plan_output_count(plan), 2);
  assert_int_equal(mien_plan_input(plan, 0, &port), MIEN_OK);
  assert_string_equal(port.name, "image");
  assert_true(port.type.rank == 4 && port.type.dim[0] == -1 && port.type.dim[3] == 8);
  assert_string_equal(port.dim_name[0], "N");
  assert_null(port.dim_name[1]);
  assert_int_equal(mien_plan_input(plan, 1, &port), MIEN_INVALID_ARGUMENT);
  assert_int_equal(mien_plan_output(plan, 1, &port), MIEN_OK);
  assert_string_equal(port.name, "mask");
  assert_int_equal(mien_plan_picture(plan, &picture, NULL), MIEN_OK);
  assert_true(picture.width == 8 && picture.std[2] == 0.225f && strcmp(picture.color, "RGB") == 0);
  const char *const *labels = mien_plan_labels(plan, &count);
  assert_int_equal(count, 2);
  assert_string_equal(labels[1], "s\"ad");
  assert_string_equal(mien_plan_notice(plan), "");
  static const char *const expected[] = {"\"Slice(Transpose(VIT.blocks.0.attn.qkv.weight))\"",
                                         "\"s\\\"ad\"",
                                         "18446744073709551615",
                                         "\"ab01\"",
                                         "\"pillow-bilinear\"",
                                         "[\"N\", 3, 8, 8]",
                                         "\"Softmax\"",
                                         "\"origin\":\tnull"};
  const char *json = mien_plan_json(plan);
  for (size_t i = 0; i < sizeof expected / sizeof *expected; i++)
    if (!strstr(json, expected[i])) fail_msg("JSON lacks %s: %s", expected[i], json);
  assert_ptr_equal(json, mien_plan_json(plan));
  mien_session *s;
  assert_int_equal(mien_session_create(plan, NULL, &s, NULL), MIEN_OK);
  assert_int_equal(mien_session_check(s, NULL, &count, NULL), MIEN_OK);
  mien_session_destroy(s);
  mien_plan_close(plan);
}

static void an_empty_plan_without_facts(void **state) {
  (void)state;
  pb b;
  pb_init(&b);
  mien_plan *plan = open_plan(&b, 0);
  size_t count = 1;
  mien_picture picture;
  mien_plan_labels(plan, &count);
  assert_int_equal(count, 0);
  assert_int_equal(mien_plan_picture(plan, &picture, NULL), MIEN_UNSUPPORTED);
  assert_non_null(strstr(mien_plan_json(plan), "\"picture\":\tnull"));
  mien_session *s;
  assert_int_equal(mien_session_create(plan, NULL, &s, NULL), MIEN_OK);
  assert_int_equal(mien_session_run(s, NULL, 0, NULL, 0, NULL), MIEN_OK);
  mien_session_destroy(s);
  mien_plan_close(plan);
  pb_free(&b);
}

static void from_a_file_mapped_and_copied(void **state) {
  (void)state;
  pb b;
  rich(&b);
  size_t size;
  uint8_t *bytes = pb_pack(&b, &size);
  char path[] = "/tmp/mien-plan-XXXXXX";
  int fd = mkstemp(path);
  assert_true(write(fd, bytes, size) == (ssize_t)size);
  mien_plan *mapped, *copied;
  mien_error error = {0};
  assert_int_equal(mien_plan_open(env, path, 0, &mapped, NULL), MIEN_OK);
  assert_int_equal(mien_plan_open(env, path, MIEN_PLAN_COPY, &copied, NULL), MIEN_OK);
  assert_true(mapped->mapped && !copied->mapped);
  mien_plan_close(mapped);
  assert_int_equal(ftruncate(fd, 10), 0); /* the copy does not mind */
  mien_session *s;
  size_t count;
  assert_int_equal(mien_session_create(copied, NULL, &s, NULL), MIEN_OK);
  assert_int_equal(mien_session_check(s, NULL, &count, NULL), MIEN_OK);
  mien_session_destroy(s);
  mien_plan_close(copied);
  assert_int_equal(mien_plan_open(env, path, 0, &mapped, &error), MIEN_CORRUPT);
  assert_int_equal(ftruncate(fd, 0), 0);
  assert_int_equal(mien_plan_open(env, path, 0, &mapped, &error), MIEN_CORRUPT);
  close(fd);
  unlink(path);
  assert_int_equal(mien_plan_open(env, path, 0, &mapped, &error), MIEN_IO);
  assert_int_equal(mien_plan_open(env, "/tmp", 0, &mapped, &error), MIEN_IO);
  assert_int_equal(mien_plan_open(env, path, 64, &mapped, &error), MIEN_INVALID_ARGUMENT);
  free(bytes);
  pb_free(&b);
}

/* ---- damage */

/* Opens; what opens must also run and tell, whatever it computes. Nothing may end in a signal. */
static mien_status use(const uint8_t *bytes, size_t size, mien_error *error) {
  mien_plan *plan;
  mien_status status = mien_plan_open_memory(env, bytes, size, 0, &plan, error);
  if (status != MIEN_OK) {
    assert_int_not_equal(status, MIEN_INTERNAL);
    assert_true(error->code == status && error->message[0]);
    return status;
  }
  mien_session *s = NULL;
  size_t count = 0;
  (void)mien_plan_json(plan);
  status = mien_session_create(plan, &(mien_session_options){.threads = 1}, &s, NULL);
  if (status == MIEN_OK) status = mien_session_check(s, NULL, &count, NULL);
  assert_int_not_equal(status, MIEN_INTERNAL);
  mien_session_destroy(s);
  mien_plan_close(plan);
  return MIEN_OK;
}

static void cut_anywhere(void **state) {
  (void)state;
  pb b;
  rich(&b);
  size_t size;
  uint8_t *bytes = pb_pack(&b, &size);
  mien_error error = {0};
  assert_int_equal(use(bytes, size, &error), MIEN_OK);
  for (size_t cut = 0; cut < size; cut++) {
    uint8_t *copy = malloc(cut + 1);
    memcpy(copy, bytes, cut);
    assert_int_equal(use(copy, cut, &error), MIEN_CORRUPT);
    pb_seal(copy, cut);
    assert_int_equal(use(copy, cut, &error), MIEN_CORRUPT);
    free(copy);
  }
  bytes = realloc(bytes, size + 1);
  bytes[size] = 0;
  assert_int_equal(use(bytes, size + 1, &error), MIEN_CORRUPT);
  bytes[size] = 1;
  pb_seal(bytes, size + 1);
  assert_int_equal(use(bytes, size + 1, &error), MIEN_CORRUPT);
  free(bytes);
  pb_free(&b);
}

static uint32_t next(uint64_t *seed) {
  *seed = *seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
  return (uint32_t)(*seed >> 33);
}

static void every_flipped_byte_is_noticed(void **state) {
  (void)state;
  pb b;
  rich(&b);
  size_t size;
  uint8_t *bytes = pb_pack(&b, &size);
  mien_error error = {0};
  for (size_t i = 0; i < size; i++)
    for (int bit = 0; bit < 8; bit++) {
      bytes[i] ^= (uint8_t)(1 << bit);
      mien_status status = use(bytes, size, &error);
      if (i >= 8 && i < 12)
        assert_true(status == MIEN_UNSUPPORTED || status == MIEN_CORRUPT); /* the version */
      else
        assert_int_equal(status, MIEN_CORRUPT);
      bytes[i] ^= (uint8_t)(1 << bit);
    }
  free(bytes);
  pb_free(&b);
}

static void sealed_damage_ends_in_no_signal(void **state) {
  (void)state;
  pb b;
  rich(&b);
  size_t size;
  uint8_t *bytes = pb_pack(&b, &size), *copy = malloc(size);
  mien_error error = {0};
  uint64_t seed = 12345;
  int opened = 0, refused = 0;
  for (int round = 0; round < 40000; round++) {
    memcpy(copy, bytes, size);
    int changes = 1 + (int)(next(&seed) % 3);
    for (int k = 0; k < changes; k++) {
      size_t at = next(&seed) % size;
      static const uint8_t nasty[] = {0, 1, 0x7f, 0x80, 0xff};
      if (next(&seed) % 2)
        copy[at] ^= (uint8_t)(1 << next(&seed) % 8);
      else
        copy[at] = nasty[next(&seed) % sizeof nasty];
    }
    pb_seal(copy, size);
    if (use(copy, size, &error) == MIEN_OK)
      opened++;
    else
      refused++;
  }
  assert_true(opened > 100 && refused > 1000); /* both ways are taken */
  free(copy);
  free(bytes);
  pb_free(&b);
}

static void heads_and_tables_that_lie(void **state) {
  (void)state;
  pb b;
  rich(&b);
  size_t size;
  uint8_t *bytes = pb_pack(&b, &size);
  static const struct {
    size_t at;
    int bytes;
    uint64_t value;
    mien_status status;
    const char *text;
  } rows[] = {
      {0, 1, 'm', MIEN_CORRUPT, "not a mien plan"},
      {8, 4, 0, MIEN_CORRUPT, "version 0"},
      {8, 4, 2, MIEN_UNSUPPORTED, "the plan has version 2, this mien (0.1.0) reads versions up to 1"},
      {8, 4, UINT32_MAX, MIEN_UNSUPPORTED, "version 4294967295"},
      {12, 4, 0, MIEN_CORRUPT, "0 sections"},
      {12, 4, 4, MIEN_CORRUPT, "4 sections"},
      {12, 4, UINT32_MAX, MIEN_CORRUPT, "4294967295 sections"},
      {40, 1, 1, MIEN_CORRUPT, "reserved"},
      {64, 4, 2, MIEN_CORRUPT, "section constants: present twice"},
      {64, 4, 9, MIEN_CORRUPT, "section program: missing"},
      {64, 4, 0, MIEN_CORRUPT, "kind 0"},
      {68, 4, 1, MIEN_CORRUPT, "section program: reserved"},
      {72, 8, 64, MIEN_CORRUPT, "overlaps"},
      {72, 8, 257, MIEN_CORRUPT, "do not fit"},
      {72, 8, UINT64_MAX - 63, MIEN_CORRUPT, "do not fit"},
      {80, 8, UINT64_MAX - 100, MIEN_CORRUPT, "do not fit"},
      {80, 8, UINT64_C(1) << 40, MIEN_CORRUPT, "do not fit"},
  };
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    uint8_t *copy = malloc(size);
    mien_error error = {0};
    memcpy(copy, bytes, size);
    pb_put(copy + rows[i].at, rows[i].value, rows[i].bytes);
    pb_seal(copy, size);
    mien_status status = use(copy, size, &error);
    if (status != rows[i].status || !strstr(error.message, rows[i].text))
      fail_msg("row %zu: %s '%s'", i, mien_status_name(status), error.message);
    free(copy);
  }
  free(bytes);
  pb_free(&b);
}

/* ---- messages that lie, with right checksums */

typedef void damage(pb *b);

static Mien__Plan__Instruction *instruction(pb *b, size_t i) { return b->program.instructions[i]; }

#define DAMAGE(name, ...) \
  static void name(pb *b) { __VA_ARGS__; }
DAMAGE(operator_outside, instruction(b, 0)->op = 99)
DAMAGE(operator_max, instruction(b, 0)->op = UINT32_MAX)
DAMAGE(input_outside, instruction(b, 0)->inputs[1] = (uint32_t)b->program.n_values + 1)
DAMAGE(input_max, instruction(b, 0)->inputs[1] = UINT32_MAX)
DAMAGE(output_outside, instruction(b, 0)->outputs[0] = (uint32_t)b->program.n_values + 1)
DAMAGE(own_output, instruction(b, 0)->inputs[0] = instruction(b, 0)->outputs[0])
DAMAGE(used_before, instruction(b, 0)->inputs[0] = instruction(b, 3)->outputs[0])
DAMAGE(written_twice, instruction(b, 3)->outputs[0] = instruction(b, 0)->outputs[0])
DAMAGE(writes_constant, instruction(b, 0)->outputs[0] = 2)
DAMAGE(writes_input, instruction(b, 0)->outputs[0] = 1)
DAMAGE(no_output, instruction(b, 0)->outputs[0] = 0)
DAMAGE(lacks_input, instruction(b, 0)->inputs[0] = 0)
DAMAGE(too_many_inputs, instruction(b, 1)->inputs = pb_ids(b, (const uint32_t[]){1, 1, 1}, 3);
       instruction(b, 1)->n_inputs = 3)
DAMAGE(unknown_attribute, pb_attribute(b, instruction(b, 0), "alpha", 'f'))
DAMAGE(attribute_kind, instruction(b, 3)->attributes[0]->kind = 'f')
DAMAGE(attribute_kind_unknown, instruction(b, 3)->attributes[0]->kind = 'g')
DAMAGE(attribute_nameless, instruction(b, 3)->attributes[0]->name = pb_text(b, ""))
DAMAGE(attribute_twice, pb_attribute(b, instruction(b, 3), "axis", 'i'))
DAMAGE(attribute_tensor, Mien__Plan__Attribute *a = pb_attribute(b, instruction(b, 3), "value", 't'); a->constant = 4)
DAMAGE(decomposed_standard, pb_push(b, &instruction(b, 0)->decomposition, &instruction(b, 0)->n_decomposition,
                                    pb_instruction(b, 0, "x", PB_IDS(1, 2), PB_IDS(5))))
DAMAGE(constant_outside, b->program.values[1]->constant = 9)
DAMAGE(constant_short, b->program.constants[0]->size = 8)
DAMAGE(constant_offset, b->program.constants[0]->offset = 4)
DAMAGE(constant_far, b->program.constants[0]->offset = UINT64_MAX - 63)
DAMAGE(constant_overlaps, b->program.constants[1]->offset = 0)
DAMAGE(constant_dim, b->program.constants[0]->type->dims[0]->value = -1)
DAMAGE(constant_dim_min, b->program.constants[0]->type->dims[0]->value = INT64_MIN)
DAMAGE(constant_wraps, b->program.constants[0]->type->dims[0]->value = INT64_C(1) << 62)
DAMAGE(constant_dtype, b->program.constants[0]->type->dtype = 99)
DAMAGE(constant_string, b->program.constants[0]->type->dtype = MIEN_STRING)
DAMAGE(constant_typeless, b->program.constants[0]->type = NULL)
DAMAGE(constant_bool, b->constants[b->program.constants[2]->offset] = 2)
DAMAGE(rank_17,
       for (int i = 0; i < 17; i++) pb_push(b, &b->program.inputs[0]->type->dims, &b->program.inputs[0]->type->n_dims,
                                            PB_NEW(b, Mien__Plan__Dim, MIEN__PLAN__DIM__INIT)))
DAMAGE(input_dim, b->program.inputs[0]->type->dims[1]->value = -2)
DAMAGE(input_nameless, b->program.inputs[0]->name = pb_text(b, ""))
DAMAGE(input_value_zero, b->program.inputs[0]->value = 0)
DAMAGE(input_value_outside, b->program.inputs[0]->value = 99)
DAMAGE(input_is_constant, b->program.inputs[0]->value = 2)
DAMAGE(input_twice,
       pb_push(b, &b->program.inputs, &b->program.n_inputs, pb_port(b, "image", pb_value(b), pb_type(b, 1, 0, NULL))))
DAMAGE(output_twice, pb_output(b, "p", 1, 1, 0, NULL))
DAMAGE(output_never, b->program.outputs[0]->value = pb_value(b))
DAMAGE(output_typeless, b->program.outputs[0]->type = NULL)
DAMAGE(operator_nameless, b->program.operators[0]->name = pb_text(b, ""))
DAMAGE(operator_version_0, b->program.operators[0]->version = 0)
DAMAGE(operator_unknown, b->program.operators[0]->name = pb_text(b, "Frobnicate"))
DAMAGE(operator_future, b->program.operators[0]->domain = pb_text(b, "com.future"))
DAMAGE(operator_too_old, b->program.operators[0]->version = 1; b->program.operators[1]->name = pb_text(b, "Blorp"))
DAMAGE(nesting, b->program.values[4]->type = pb_type(b, 1, 0, NULL);
       b->program.values[4]->type->nest = pb_ids(b, (const uint32_t[]){7}, 1); b->program.values[4]->type->n_nest = 1)
DAMAGE(name_outside, b->names.values[0]->value = 99)
DAMAGE(recipe_constant, b->names.recipes[0]->constant = 9)
DAMAGE(recipe_forward, b->names.recipes[0]->steps[0]->inputs[0] = 2)
DAMAGE(recipe_result, b->names.recipes[0]->result = 4)
DAMAGE(recipe_result_0, b->names.recipes[0]->result = 0)
DAMAGE(picture_std, b->meta.picture->std[1] = 0)
DAMAGE(picture_mean, b->meta.picture->mean[1] = NAN)
DAMAGE(picture_scale, b->meta.picture->scale = 0)
DAMAGE(picture_size, b->meta.picture->width = 1000000)
DAMAGE(picture_input, b->meta.picture->input = pb_text(b, "other"))
DAMAGE(picture_two_means, b->meta.picture->n_mean = 2)
DAMAGE(picture_resize, b->meta.picture->resize = pb_text(b, "lanczos"))
DAMAGE(sampling_output, b->meta.sampling = PB_NEW(b, Mien__Plan__Sampling, MIEN__PLAN__SAMPLING__INIT);
       b->meta.sampling->mu = pb_text(b, "mu"))
DAMAGE(labels_few, b->meta.sampling = PB_NEW(b, Mien__Plan__Sampling, MIEN__PLAN__SAMPLING__INIT);
       b->meta.sampling->mu = pb_text(b, "p"))
DAMAGE(golden_input, b->check.inputs[0]->name = pb_text(b, "other"))
DAMAGE(golden_shape, b->check.inputs[0]->type->dims[1]->value = 4)
DAMAGE(golden_open, b->check.inputs[0]->type->dims[0]->value = -1)
DAMAGE(golden_none, b->check.n_inputs = 0)
DAMAGE(golden_place, b->check.values[0]->index[0] = 384)
DAMAGE(golden_place_max, b->check.values[0]->index[0] = UINT64_MAX)
DAMAGE(golden_count, b->check.values[0]->n_expected = 0)
DAMAGE(golden_tolerance, b->check.values[0]->tolerance = NAN)
DAMAGE(golden_output, b->check.values[0]->name = pb_text(b, "q"))

static void messages_that_lie(void **state) {
  (void)state;
  static const struct {
    damage *damage;
    mien_status status;
    const char *text;
  } rows[] = {
      {operator_outside, MIEN_CORRUPT, "operator 99 of 4"},
      {operator_max, MIEN_CORRUPT, "operator 4294967295 of 4"},
      {input_outside, MIEN_CORRUPT, "input 1 is value"},
      {input_max, MIEN_CORRUPT, "input 1 is value 4294967295"},
      {output_outside, MIEN_CORRUPT, "output 0 is value"},
      {own_output, MIEN_CORRUPT, "used before it is computed"},
      {used_before, MIEN_CORRUPT, "used before it is computed"},
      {written_twice, MIEN_CORRUPT, "defined twice"},
      {writes_constant, MIEN_CORRUPT, "defined twice"},
      {writes_input, MIEN_CORRUPT, "defined twice"},
      {no_output, MIEN_CORRUPT, "no output"},
      {lacks_input, MIEN_INVALID_MODEL, "lacks input 0"},
      {too_many_inputs, MIEN_INVALID_MODEL, "has 3 inputs"},
      {unknown_attribute, MIEN_INVALID_MODEL, "attribute 'alpha'"},
      {attribute_kind, MIEN_INVALID_MODEL, "kind 'f', expected 'i'"},
      {attribute_kind_unknown, MIEN_CORRUPT, "unknown kind"},
      {attribute_nameless, MIEN_CORRUPT, "without a name"},
      {attribute_twice, MIEN_INVALID_MODEL, "'axis' twice"},
      {attribute_tensor, MIEN_CORRUPT, "constant 4 of 3"},
      {decomposed_standard, MIEN_CORRUPT, "carries a decomposition"},
      {constant_outside, MIEN_CORRUPT, "constant 9 of 3"},
      {constant_short, MIEN_CORRUPT, "has 8 bytes, its type needs 12"},
      {constant_offset, MIEN_CORRUPT, "do not fit"},
      {constant_far, MIEN_CORRUPT, "do not fit"},
      {constant_overlaps, MIEN_CORRUPT, "overlap"},
      {constant_dim, MIEN_CORRUPT, "dimension 0 is -1"},
      {constant_dim_min, MIEN_CORRUPT, "dimension 0 is -9223372036854775808"},
      {constant_wraps, MIEN_LIMIT, "limit"},
      {constant_dtype, MIEN_CORRUPT, "unknown element type 99"},
      {constant_string, MIEN_UNSUPPORTED, "only numbers"},
      {constant_typeless, MIEN_CORRUPT, "has no type"},
      {constant_bool, MIEN_CORRUPT, "contents that bool cannot have"},
      {rank_17, MIEN_CORRUPT, "rank 21"},
      {input_dim, MIEN_CORRUPT, "dimension 1 is -2"},
      {input_nameless, MIEN_CORRUPT, "without a name"},
      {input_value_zero, MIEN_CORRUPT, "is value 0"},
      {input_value_outside, MIEN_CORRUPT, "is value 99"},
      {input_is_constant, MIEN_CORRUPT, "defined twice"},
      {input_twice, MIEN_CORRUPT, "two inputs are named 'image'"},
      {output_twice, MIEN_CORRUPT, "two outputs are named 'p'"},
      {output_never, MIEN_CORRUPT, "never computed"},
      {output_typeless, MIEN_CORRUPT, "has no type"},
      {operator_nameless, MIEN_CORRUPT, "operator 0"},
      {operator_version_0, MIEN_CORRUPT, "version 0"},
      {operator_unknown, MIEN_UNSUPPORTED, "Frobnicate-14 (unknown)"},
      {operator_future, MIEN_UNSUPPORTED, "com.future.Add-14"},
      {operator_too_old, MIEN_UNSUPPORTED, "Blorp-14 (unknown)"},
      {nesting, MIEN_CORRUPT, "unknown nesting 7"},
      {name_outside, MIEN_CORRUPT, "value 99"},
      {recipe_constant, MIEN_CORRUPT, "constant 9 of 3"},
      {recipe_forward, MIEN_CORRUPT, "reads value 2 of 1"},
      {recipe_result, MIEN_CORRUPT, "result is value 4 of 3"},
      {recipe_result_0, MIEN_CORRUPT, "result is value 0"},
      {picture_std, MIEN_CORRUPT, "deviation 0"},
      {picture_mean, MIEN_CORRUPT, "mean nan"},
      {picture_scale, MIEN_CORRUPT, "scale 0"},
      {picture_size, MIEN_CORRUPT, "1000000 x 8"},
      {picture_input, MIEN_CORRUPT, "'other', which is no input"},
      {picture_two_means, MIEN_CORRUPT, "2 means"},
      {picture_resize, MIEN_UNSUPPORTED, "lanczos"},
      {sampling_output, MIEN_CORRUPT, "'mu', which is no output"},
      {labels_few, MIEN_CORRUPT, "2 labels for the 192 classes"},
      {golden_input, MIEN_CORRUPT, "'other' is no input"},
      {golden_shape, MIEN_CORRUPT, "another type"},
      {golden_open, MIEN_CORRUPT, "dimension 0 is -1"},
      {golden_none, MIEN_CORRUPT, "0 inputs, the plan has 1"},
      {golden_place, MIEN_CORRUPT, "place 384 of 384"},
      {golden_place_max, MIEN_CORRUPT, "place 18446744073709551615"},
      {golden_count, MIEN_CORRUPT, "1 places and 0 numbers"},
      {golden_tolerance, MIEN_CORRUPT, "tolerance nan"},
      {golden_output, MIEN_CORRUPT, "'q' is no output"},
  };
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    pb b;
    rich(&b);
    rows[i].damage(&b);
    mien_plan *plan = NULL;
    mien_error error = {0};
    mien_status status = pb_open(&b, env, 0, &plan, &error);
    if (status != rows[i].status || !strstr(error.message, rows[i].text))
      fail_msg("row %zu: %s '%s', expected '%s'", i, mien_status_name(status), error.message, rows[i].text);
    assert_null(plan);
    pb_free(&b);
  }
}

static void all_unknown_operators_are_listed(void **state) {
  (void)state;
  pb b;
  pb_init(&b);
  uint32_t v = pb_input(&b, "x", MIEN_F32, 0, NULL);
  char name[32];
  for (int i = 0; i < 40; i++) {
    snprintf(name, sizeof name, "Unknown%d", i);
    v = pb_node(&b, name, 13, PB_IDS(v));
    v = pb_node(&b, "Neg", 13, PB_IDS(v));
  }
  mien_plan *plan;
  mien_error error = {0};
  assert_int_equal(pb_open(&b, env, 0, &plan, &error), MIEN_UNSUPPORTED);
  assert_non_null(strstr(error.message, "Unknown0-13 (unknown), Unknown1-13 (unknown)"));
  int shown = 0;
  for (const char *at = error.message; (at = strstr(at, "-13 (unknown)")); at++) shown++;
  snprintf(name, sizeof name, " %d more", 40 - shown);
  assert_non_null(strstr(error.message, name));
  pb_free(&b);
}

/* Text that doubles with every step must not be written out. */
static void recipes_that_explode_are_cut(void **state) {
  (void)state;
  pb b;
  rich(&b);
  Mien__Plan__Recipe *r = add_recipe(&b, 2);
  add_leaf(&b, r, "w");
  for (uint32_t i = 1; i <= 200; i++) add_step(&b, r, "Add", PB_IDS(i, i));
  r->result = 201;
  Mien__Plan__Recipe *wide = add_recipe(&b, 3);
  add_leaf(&b, wide, "w\xc3\xa4hrung");
  uint32_t many[1000];
  for (int i = 0; i < 1000; i++) many[i] = i % 3 ? 1 : 0;
  add_step(&b, wide, "Concat", many, 1000);
  wide->result = 2;
  mien_plan *plan = open_plan(&b, 0);
  const char *json = mien_plan_json(plan);
  assert_non_null(strstr(json, "Add(Add(Add("));
  assert_non_null(strstr(json, "..."));
  assert_non_null(strstr(json, "Concat(, w\xc3\xa4hrung, w\xc3\xa4hrung"));
  assert_true(mien__utf8_valid(json, strlen(json)));
  mien_plan_close(plan);
  pb_free(&b);
}

/* ---- plugins */

static mien_status twice_run(mien_node *n, int64_t begin, int64_t end) {
  const float *x = mien_in(n, 0)->data;
  float *y = mien_out(n, 0)->data;
  for (int64_t i = begin; i < end; i++) y[i] = 2 * x[i] + 1000; /* so that it shows which one ran */
  return MIEN_OK;
}

static const mien_kernel twice_kernels[] = {{MIEN_F32, twice_run}, {MIEN_NONE, NULL}};
static const mien_op twice_ops[] = {{.domain = "com.test",
                                     .name = "Twice",
                                     .since = 1,
                                     .signature = "X:T -> Y:T",
                                     .kernels = twice_kernels,
                                     .infer = mien_infer_same},
                                    {.name = NULL}};

/* y = Twice(x), carried as h = x + x, y = Identity(h). */
static void plugin_plan(pb *b) {
  pb_init(b);
  uint32_t x = pb_input(b, "x", MIEN_F32, 1, PB_DIMS(2)), y = pb_value(b), h = pb_value(b);
  uint32_t op = pb_operator(b, "com.test", "Twice", 1);
  b->program.operators[op]->plugin = pb_text(b, "libtwice");
  b->program.operators[op]->plugin_version = pb_text(b, "7");
  Mien__Plan__Instruction *i = pb_instruction(b, op, "twice", PB_IDS(x), PB_IDS(y));
  pb_push(b, &i->decomposition, &i->n_decomposition,
          pb_instruction(b, pb_operator(b, "", "Add", 14), "add", PB_IDS(x, x), PB_IDS(h)));
  pb_push(b, &i->decomposition, &i->n_decomposition,
          pb_instruction(b, pb_operator(b, "", "Neg", 13), "neg", PB_IDS(h), PB_IDS(y)));
  pb_append(b, i);
  pb_output(b, "y", y, MIEN_F32, 1, PB_DIMS(2));
}

static float run_first(mien_plan *plan) {
  mien_session *s;
  mien_error error = {0};
  if (mien_session_create(plan, NULL, &s, &error) != MIEN_OK) fail_msg("%s", error.message);
  float x[2] = {3, 4}, y[2];
  mien_binding in = {"x", {.type = {.dtype = MIEN_F32, .rank = 1, .dim = {2}}, .data = x, .bytes = 8}};
  mien_binding out = {"y", {.data = y, .bytes = 8}};
  assert_int_equal(mien_session_run(s, &in, 1, &out, 1, NULL), MIEN_OK);
  mien_session_destroy(s);
  return y[0];
}

static void a_missing_plugin_is_replaced_and_told(void **state) {
  (void)state;
  pb b;
  plugin_plan(&b);
  mien_plan *plan = open_plan(&b, 0);
  assert_string_equal(mien_plan_notice(plan),
                      "com.test.Twice-1 (plugin 'libtwice' 7 is not loaded); its decomposition runs instead, slower\n");
  assert_true(run_first(plan) == -6);
  mien_plan_close(plan);
  mien_env *own;
  mien_error error = {0};
  assert_int_equal(mien_env_create(NULL, &own, NULL), MIEN_OK);
  if (mien__registry_add(own, twice_ops, "libtwice", "8", &error) != MIEN_OK) fail_msg("%s", error.message);
  assert_int_equal(pb_open(&b, own, 0, &plan, NULL), MIEN_OK);
  assert_string_equal(mien_plan_notice(plan), "");
  assert_true(run_first(plan) == 1006);
  mien_plan_close(plan);
  assert_int_equal(pb_open(&b, own, MIEN_PLAN_NO_PLUGINS, &plan, NULL), MIEN_OK);
  assert_string_equal(mien_plan_notice(plan), ""); /* nothing is missing: the caller wanted it so */
  assert_true(run_first(plan) == -6);
  mien_plan_close(plan);
  b.program.instructions[0]->n_decomposition = 0;
  assert_int_equal(pb_open(&b, env, 0, &plan, &error), MIEN_UNSUPPORTED);
  assert_non_null(strstr(error.message, "com.test.Twice-1 (plugin 'libtwice' 7 is not loaded)"));
  assert_int_equal(pb_open(&b, own, 0, &plan, NULL), MIEN_OK);
  mien_plan_close(plan);
  mien_env_destroy(own);
  pb_free(&b);
}

DAMAGE(inner_used_later, pb_output(b, "h", 3, MIEN_F32, 1, PB_DIMS(2)))
DAMAGE(inner_read_later, pb_append(b, pb_instruction(b, 2, "late", PB_IDS(3), PB_IDS(pb_value(b)))))
DAMAGE(inner_incomplete, instruction(b, 0)->decomposition[1]->outputs[0] = pb_value(b))
DAMAGE(inner_order, instruction(b, 0)->decomposition[0]->inputs[0] = 2)
DAMAGE(inner_twice, instruction(b, 0)->decomposition[1]->outputs[0] = 3)
DAMAGE(inner_plugin, instruction(b, 0)->decomposition[0]->op = 0; instruction(b, 0)->decomposition[0]->n_inputs = 1)
DAMAGE(inner_nested, pb_push(b, &instruction(b, 0)->decomposition[0]->decomposition,
                             &instruction(b, 0)->decomposition[0]->n_decomposition,
                             pb_instruction(b, 1, "n", PB_IDS(1, 1), PB_IDS(3))))
DAMAGE(outer_twice, instruction(b, 0)->outputs = pb_ids(b, (const uint32_t[]){2, 2}, 2);
       instruction(b, 0)->n_outputs = 2)
DAMAGE(inner_unknown, b->program.operators[1]->name = pb_text(b, "Blorp"))

static void decompositions_that_lie(void **state) {
  (void)state;
  static const struct {
    damage *damage;
    mien_status status;
    const char *text;
  } rows[] = {
      {inner_used_later, MIEN_CORRUPT, "never computed"},
      {inner_read_later, MIEN_CORRUPT, "belongs to another decomposition"},
      {inner_incomplete, MIEN_CORRUPT, "does not compute output 0"},
      {inner_order, MIEN_CORRUPT, "used before it is computed"},
      {inner_twice, MIEN_CORRUPT, "defined twice"},
      {inner_plugin, MIEN_CORRUPT, "would have one too"},
      {inner_nested, MIEN_CORRUPT, "would have one too"},
      {outer_twice, MIEN_CORRUPT, "defined twice"},
      {inner_unknown, MIEN_UNSUPPORTED, "Blorp-14"},
  };
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    pb b;
    plugin_plan(&b);
    rows[i].damage(&b);
    mien_plan *plan = NULL;
    mien_error error = {0};
    mien_status status = pb_open(&b, env, 0, &plan, &error);
    if (status != rows[i].status || !strstr(error.message, rows[i].text))
      fail_msg("row %zu: %s '%s', expected '%s'", i, mien_status_name(status), error.message, rows[i].text);
    pb_free(&b);
  }
}

/* ---- limits */

static void limits_of_the_env(void **state) {
  (void)state;
  pb b;
  pb_init(&b);
  uint32_t v = pb_input(&b, "x", MIEN_F32, 1, PB_DIMS(100));
  for (int i = 0; i < 20; i++) v = pb_node(&b, "Neg", 13, PB_IDS(v));
  pb_output(&b, "y", v, MIEN_F32, 1, PB_DIMS(100));
  const struct {
    mien_limits limits;
    mien_status status, session;
  } rows[] = {
      {{.nodes = 20}, MIEN_OK, MIEN_OK},           {{.nodes = 19}, MIEN_LIMIT, MIEN_OK},
      {{.arena_bytes = 448}, MIEN_OK, MIEN_OK},    {{.arena_bytes = 447}, MIEN_OK, MIEN_LIMIT},
      {{.tensor_bytes = 400}, MIEN_OK, MIEN_OK},   {{.tensor_bytes = 399}, MIEN_OK, MIEN_LIMIT},
      {{.load_bytes = 1000}, MIEN_LIMIT, MIEN_OK},
  };
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    mien_env *own;
    mien_plan *plan;
    mien_session *s;
    mien_error error = {0};
    assert_int_equal(mien_env_create(&(mien_env_options){.limits = rows[i].limits}, &own, NULL), MIEN_OK);
    mien_status status = pb_open(&b, own, 0, &plan, &error);
    if (status != rows[i].status) fail_msg("row %zu: %s '%s'", i, mien_status_name(status), error.message);
    if (status == MIEN_OK) {
      status = mien_session_create(plan, NULL, &s, &error);
      if (status != rows[i].session) fail_msg("row %zu: %s '%s'", i, mien_status_name(status), error.message);
      if (status == MIEN_OK) mien_session_destroy(s);
      mien_plan_close(plan);
    }
    mien_env_destroy(own);
  }
  pb_free(&b);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(facts_are_read),
                                     cmocka_unit_test(an_empty_plan_without_facts),
                                     cmocka_unit_test(from_a_file_mapped_and_copied),
                                     cmocka_unit_test(cut_anywhere),
                                     cmocka_unit_test(every_flipped_byte_is_noticed),
                                     cmocka_unit_test(sealed_damage_ends_in_no_signal),
                                     cmocka_unit_test(heads_and_tables_that_lie),
                                     cmocka_unit_test(messages_that_lie),
                                     cmocka_unit_test(all_unknown_operators_are_listed),
                                     cmocka_unit_test(recipes_that_explode_are_cut),
                                     cmocka_unit_test(a_missing_plugin_is_replaced_and_told),
                                     cmocka_unit_test(decompositions_that_lie),
                                     cmocka_unit_test(limits_of_the_env)};
  return cmocka_run_group_tests(tests, setup, teardown);
}
