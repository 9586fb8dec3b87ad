#include "tests/converter/onnx_writer.h"

#include "plan.pb-c.h"
#include "runtime/plan_format.h"

#include <dirent.h>
#include <fcntl.h>
#include <math.h>
#include <mien/convert.h>

static mien_env *env;

static int setup(void **state) {
  (void)state;
  test_directory_make();
  return mien_env_create(NULL, &env, NULL);
}

static int teardown(void **state) {
  mien_env_destroy(env);
  return test_directory_remove(state);
}

static int entries(void) {
  int n = 0;
  DIR *d = opendir(test_directory);
  assert_non_null(d);
  for (struct dirent *e; (e = readdir(d));) n += e->d_name[0] != '.';
  closedir(d);
  return n;
}

/* A convolution with a normalisation before it: gamma, beta, mean and variance are folded into weights. */
static wire norm_conv_graph(void) {
  static const float ones[4] = {1, 2, 3, 4}, w[36] = {1, -2, 3, -4, 5, -6, 7, -8, 9}, table[6] = {0, 1, 2, 3, 4, 5};
  wire graph = {0}, conv = onnx_node("Conv", "conv", "n,w", "c"), kernel = onnx_attr("kernel_shape", 7);
  wire_int(&kernel, 8, 3);
  wire_int(&kernel, 8, 3);
  wire_message(&conv, 5, kernel);
  wire_message(&graph, 11, onnx_value("x", MIEN_F32, "N,2,8,8"));
  wire_message(&graph, 12, onnx_value("y", MIEN_F32, "N,2,6,6"));
  wire_message(&graph, 12, onnx_value("t", MIEN_F32, "3"));
  wire_message(&graph, 5, onnx_floats("gamma", "2", ones, 2));
  wire_message(&graph, 5, onnx_floats("beta", "2", ones + 1, 2));
  wire_message(&graph, 5, onnx_floats("mean", "2", ones + 2, 2));
  wire_message(&graph, 5, onnx_floats("variance", "2", ones, 2));
  wire_message(&graph, 5, onnx_floats("w", "2,2,3,3", w, 36));
  wire_message(&graph, 5, onnx_floats("table", "2,3", table, 6));
  wire_message(&graph, 5, onnx_floats("offset", "3", table, 3));
  wire_message(&graph, 5, onnx_floats("unused", "3", table, 3));
  wire_message(&graph, 1, onnx_node("BatchNormalization", "norm", "x,gamma,beta,mean,variance", "n"));
  wire_message(&graph, 1, conv);
  wire_message(&graph, 1, onnx_node("Relu", "relu", "c", "y"));
  wire max = onnx_node("ReduceMax", "max", "table", "m"), axes = onnx_attr("axes", 7);
  wire_int(&axes, 8, 0);
  wire_message(&max, 5, axes);
  onnx_add_int(&max, "keepdims", 0);
  wire_message(&graph, 1, max);
  wire_message(&graph, 1, onnx_node("Add", "add", "m,offset", "t"));
  return graph;
}

static mien_status convert_with(wire model, const mien_convert_options *options, mien_convert_report *report,
                                mien_error *error) {
  test_write("model.onnx", model.at, model.length);
  char in[256];
  snprintf(in, sizeof in, "%s", test_path("model.onnx"));
  return mien_convert(env, in, test_path("out.plan"), options, report, error);
}

static void converts(wire model, const mien_convert_options *options, mien_convert_report *report) {
  mien_error error = {0};
  if (convert_with(model, options, report, &error) != MIEN_OK) fail_msg("%s", error.message);
}

static mien_plan *open_plan(void) {
  mien_plan *plan;
  mien_error error = {0};
  if (mien_plan_open(env, test_path("out.plan"), 0, &plan, &error) != MIEN_OK) fail_msg("%s", error.message);
  return plan;
}

static void whole_way(void **state) {
  (void)state;
  mien_convert_report report;
  const mien_convert_options options = {.verify = 4, .seed = 5};
  converts(onnx_model(norm_conv_graph()), &options, &report);
  assert_non_null(strstr(report.text, "output 'y': largest error"));
  assert_non_null(strstr(report.json, "\"nodes_before\""));
  assert_non_null(strstr(report.json, "\"BatchNormalization\":\t1"));
  mien_convert_report_free(env, &report);
  assert_null(report.text);
  mien_plan *plan = open_plan();
  assert_int_equal(mien_plan_input_count(plan), 1);
  assert_int_equal(mien_plan_output_count(plan), 2);
  mien_port port;
  assert_int_equal(mien_plan_input(plan, 0, &port), MIEN_OK);
  assert_string_equal(port.name, "x");
  assert_int_equal(port.type.dim[0], -1);
  assert_string_equal(port.dim_name[0], "N");
  mien_session *session;
  assert_int_equal(mien_session_create(plan, NULL, &session, NULL), MIEN_OK);
  mien_check_row rows[16];
  size_t count = 16;
  assert_int_equal(mien_session_check(session, rows, &count, NULL), MIEN_OK);
  assert_true(count >= 2);
  mien_session_destroy(session);
  mien_plan_close(plan);
}

static uint8_t *slurp(const char *name, size_t *size) {
  mien__file file;
  assert_int_equal(mien__file_open(env, test_path(name), true, &file, NULL), MIEN_OK);
  *size = file.size;
  return (uint8_t *)(uintptr_t)file.data;
}

static void same_bytes_every_time(void **state) {
  (void)state;
  size_t sizes[2];
  uint8_t *bytes[2];
  const mien_convert_options options = {.verify = 2};
  for (int k = 0; k < 2; k++) {
    converts(onnx_model(norm_conv_graph()), k ? &options : NULL, NULL);
    bytes[k] = slurp("out.plan", &sizes[k]);
  }
  assert_int_equal(sizes[0], sizes[1]);
  assert_memory_equal(bytes[0], bytes[1], sizes[0]);
  for (int k = 0; k < 2; k++) mien__free(env, bytes[k]);
}

/* ---- recipes: run again from the initializers alone, every constant must come out bit for bit */

static mien_tensor leaf_tensor(const mien_plan *plan, const Mien__Plan__RecipeLeaf *leaf, const mien__graph *model) {
  if (leaf->initializer[0])
    for (mien_value v = 0; v < model->value_count; v++)
      if (mien__value_at(model, v)->initializer &&
          strcmp(mien__value_at(model, v)->initializer, leaf->initializer) == 0)
        return mien__value_at(model, v)->v.tensor;
  if (leaf->constant) return plan->tensors[leaf->constant - 1];
  mien_tensor t = {.data = leaf->data.data, .bytes = leaf->data.len};
  t.type.dtype = (int32_t)leaf->type->dtype;
  t.type.rank = (int32_t)leaf->type->n_dims;
  for (size_t i = 0; i < leaf->type->n_dims; i++) t.type.dim[i] = leaf->type->dims[i]->value;
  assert_false(leaf->initializer[0]);
  return t;
}

static void run_step(mien_plan *plan, const Mien__Plan__RecipeStep *step, mien__value *values, size_t first_out) {
  const mien__record *record = mien__registry_find(env, step->domain, step->op, step->version, NULL);
  assert_non_null(record);
  mien__attr_value attrs[32];
  mien__value *in[32] = {NULL}, *out[32] = {NULL};
  mien_error error = {0};
  assert_true(step->n_attributes <= 32 && step->n_inputs <= 32 && step->outputs <= 32);
  for (size_t i = 0; i < step->n_attributes; i++)
    assert_int_equal(mien__plan_attribute(plan, step->attributes[i], "recipe", &attrs[i], &error), MIEN_OK);
  for (size_t i = 0; i < step->n_inputs; i++) in[i] = step->inputs[i] ? &values[step->inputs[i] - 1] : NULL;
  for (uint32_t i = 0; i < step->outputs; i++) out[i] = &values[first_out + i];
  mien__pool pool;
  mien__pool_init(&pool, env, 0);
  mien__scope scope = {.env = env, .pool = &pool, .error = &error};
  mien_node node;
  assert_int_equal(mien__node_init(&node, &scope, record, "step", attrs, (int)step->n_attributes, in,
                                   (int)step->n_inputs, out, (int)step->outputs),
                   MIEN_OK);
  if (mien__node_evaluate(&node) != MIEN_OK) fail_msg("%s", error.message);
  mien__pool_clear(&pool);
}

static size_t run_recipes(mien_plan *plan, const mien__graph *model) {
  size_t stepped = 0;
  for (size_t i = 0; i < plan->names->n_recipes; i++) {
    const Mien__Plan__Recipe *r = plan->names->recipes[i];
    mien__value values[256] = {0};
    size_t count = r->n_leaves;
    assert_true(count < 128);
    for (size_t k = 0; k < count; k++) {
      values[k].tensor = leaf_tensor(plan, r->leaves[k], model);
      values[k].constant = true;
    }
    for (size_t k = 0; k < r->n_steps; k++) {
      assert_true(count + r->steps[k]->outputs < 256);
      for (uint32_t o = 0; o < r->steps[k]->outputs; o++) values[count + o].tensor.type.rank = -1;
      run_step(plan, r->steps[k], values, count);
      count += r->steps[k]->outputs;
    }
    stepped += r->n_steps > 0;
    const mien_tensor *expected = &plan->tensors[r->constant - 1], *got = &values[r->result - 1].tensor;
    assert_true(mien__type_equal(&expected->type, &got->type));
    assert_memory_equal(expected->data, got->data, (size_t)mien_count(&got->type) * mien_dtype_size(got->type.dtype));
    for (size_t k = r->n_leaves; k < count; k++) mien__free(env, values[k].tensor.data);
  }
  return stepped;
}

static void recipes_run_again(void **state) {
  (void)state;
  mien_error error = {0};
  converts(onnx_model(norm_conv_graph()), NULL, NULL);
  mien_plan *plan = open_plan();
  imported *i = import_model(onnx_model(norm_conv_graph()), false);
  assert_true(run_recipes(plan, i->import.graph) >= 3); /* weights, bias, t */
  import_free(i);
  mien_plan_close(plan);
  const char *model = MIEN_SOURCE_DIR "/models/poster_var_small/model.onnx";
  if (mien_convert(env, model, test_path("out.plan"), NULL, NULL, &error) != MIEN_OK) fail_msg("%s", error.message);
  plan = open_plan();
  mien__import im;
  assert_int_equal(mien__import_open(&im, env, model, &error), MIEN_OK);
  assert_true(run_recipes(plan, im.graph) > 10);
  mien__import_close(&im);
  mien_plan_close(plan);
}

/* ---- precision */

/* Types of constants, recipes that say how they were rounded, what meta and summary say; the same bytes each time. */
static void precisions(void **state) {
  (void)state;
  static const struct {
    mien_precision precision;
    int32_t dtype;
    const char *text;
  } rows[] = {{MIEN_PRECISION_FP32, MIEN_F32, "\"precision\":\t\"fp32\""},
              {MIEN_PRECISION_BF16, MIEN_BF16, "\"precision\":\t\"bf16\""},
              {MIEN_PRECISION_INT16, MIEN_F16, "\"precision\":\t\"int16\""},
              {MIEN_PRECISION_FP16_WEIGHTS, MIEN_F16, "\"precision\":\t\"fp16-weights\""}};
  const char *model = MIEN_SOURCE_DIR "/models/poster_var_small/model.onnx";
  uint64_t bytes[4];
  for (int i = 0; i < 4; i++) {
    const mien_convert_options options = {.verify = 1, .precision = rows[i].precision};
    mien_convert_report report = {0};
    mien_error error = {0};
    char first[512];
    snprintf(first, sizeof first, "%s", test_path("first.plan"));
    if (mien_convert(env, model, first, &options, NULL, &error) != MIEN_OK) fail_msg("%s", error.message);
    if (mien_convert(env, model, test_path("out.plan"), &options, &report, &error) != MIEN_OK)
      fail_msg("%s", error.message);
    char command[1200];
    snprintf(command, sizeof command, "cmp -s '%s' '%s'", first, test_path("out.plan"));
    assert_int_equal(system(command), 0);
    assert_non_null(strstr(report.json, rows[i].text));
    assert_int_equal(strstr(report.text, "precision ") != NULL, i > 0);
    mien_plan *plan = open_plan();
    assert_non_null(strstr(mien_plan_json(plan), rows[i].text));
    int halves = 0, convolutions = 0, kept = 0;
    for (size_t k = 0; k < plan->source->n_constants; k++) {
      const mien_type *t = &plan->tensors[k].type;
      if (t->dtype == MIEN_F32) kept += t->rank == 4 && t->dim[1] > 1 && t->dim[2] == 3 && t->dim[3] == 3;
      if (t->dtype == MIEN_F32 || t->dtype == MIEN_I64) continue;
      assert_int_equal(t->dtype, rows[i].dtype);
      assert_true(t->rank >= 2);
      halves++;
      convolutions += t->rank == 4;
    }
    assert_int_equal(halves > 20, i > 0);
    assert_int_equal(convolutions > 10, i > 0);
    if (i == 1 || i == 2) assert_true(kept > 5); /* by Winograd's method */
    if (i == 3) assert_int_equal(kept, 0);
    mien__import im;
    assert_int_equal(mien__import_open(&im, env, model, &error), MIEN_OK);
    assert_true(run_recipes(plan, im.graph) > 10);
    mien__import_close(&im);
    bytes[i] = plan->section_bytes[MIEN__SECTION_CONSTANTS];
    mien_plan_close(plan);
    mien_convert_report_free(env, &report);
  }
  assert_true(bytes[1] < bytes[0] && bytes[2] == bytes[1] && bytes[3] < bytes[1]);
  const mien_convert_options bad = {.precision = (mien_precision)7};
  mien_error error = {0};
  assert_int_equal(mien_convert(env, model, test_path("out.plan"), &bad, NULL, &error), MIEN_INVALID_ARGUMENT);
  assert_non_null(strstr(error.message, "precision is 7"));
}

/* A plan of one product, W larger than everything else, takes half the bytes; a weight that float16 cannot hold stays. */
static void halves_of_a_product(void **state) {
  (void)state;
  static float w[64 * 96];
  for (int huge = 0; huge < 2; huge++)
    for (int i = 0; i < 4; i++) {
      for (int k = 0; k < 64 * 96; k++) w[k] = (float)(k % 37 - 18) / 16; /* exact in half types */
      if (huge) w[5] = 1e6f;
      wire graph = {0};
      wire_message(&graph, 11, onnx_value("x", MIEN_F32, "3,64"));
      wire_message(&graph, 12, onnx_value("y", MIEN_F32, "3,96"));
      wire_message(&graph, 5, onnx_floats("w", "64,96", w, 64 * 96));
      wire_message(&graph, 1, onnx_node("MatMul", "product", "x,w", "y"));
      const mien_convert_options options = {.precision = (mien_precision)i};
      mien_error error = {0};
      if (convert_with(onnx_model(graph), &options, NULL, &error) != MIEN_OK) fail_msg("%s", error.message);
      mien_plan *plan = open_plan();
      const bool stays = i == MIEN_PRECISION_FP32 || (huge && i >= MIEN_PRECISION_INT16);
      assert_int_equal(plan->section_bytes[MIEN__SECTION_CONSTANTS], 64 * 96 * (stays ? 4 : 2));
      mien_plan_close(plan);
    }
}

/* Two products of which the second one's output is a thousand times as large, and so are its errors. */
static wire two_products(bool floats) {
  static float small[64 * 96], large[64 * 96];
  for (int k = 0; k < 64 * 96; k++) {
    small[k] = (float)((k * 7919 + 13) % 1009 - 504) / 4096; /* more bits than bfloat16 has */
    large[k] = 1000 * small[k];
  }
  wire graph = {0};
  wire_message(&graph, 11, onnx_value("x", MIEN_F32, "3,64"));
  wire_message(&graph, 12, onnx_value(floats ? "y" : "i", floats ? MIEN_F32 : MIEN_I64, floats ? "3,96" : "1,96"));
  wire_message(&graph, 12, onnx_value(floats ? "z" : "k", floats ? MIEN_F32 : MIEN_I64, floats ? "3,96" : "1,96"));
  wire_message(&graph, 5, onnx_floats("small", "64,96", small, 64 * 96));
  wire_message(&graph, 5, onnx_floats("large", "64,96", large, 64 * 96));
  wire_message(&graph, 1, onnx_node("MatMul", "first", "x,small", "y"));
  wire_message(&graph, 1, onnx_node("MatMul", "second", "x,large", "z"));
  if (floats) return onnx_model(graph);
  wire_message(&graph, 1, onnx_node("ArgMax", "third", "y", "i"));
  wire_message(&graph, 1, onnx_node("ArgMax", "fourth", "z", "k"));
  return onnx_model(graph);
}

/* Products are rounded as long as the outputs stay within the bound; those that they suffer from most stay. */
static void products_within_a_bound(void **state) {
  (void)state;
  static const struct {
    mien_precision precision;
    double bound;
    int bf16, int16;
  } rows[] = {
      {MIEN_PRECISION_BF16, 1e-7, 0, 0}, /* errors are near 0.001 and near 1: 64 terms of 0.07 x 1, each 0.0016 off; */
      {MIEN_PRECISION_BF16, 1e-2, 0, 1}, /* integers' are a tenth of that */
      {MIEN_PRECISION_BF16, 1, 1, 1},     {MIEN_PRECISION_BF16, 1e6, 2, 0}, {MIEN_PRECISION_INT16, 1e-7, 0, 0},
      {MIEN_PRECISION_INT16, 1e-2, 0, 1}, {MIEN_PRECISION_INT16, 1, 0, 2}};
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    const mien_convert_options options = {.precision = rows[i].precision, .max_error = rows[i].bound, .verify = 2};
    const bool bf16 = rows[i].precision == MIEN_PRECISION_BF16;
    const int rounded = rows[i].bf16 + rows[i].int16;
    mien_convert_report report = {0};
    char said[64];
    converts(two_products(true), &options, &report);
    snprintf(said, sizeof said, "weights of %d products", bf16 ? rows[i].bf16 : rows[i].int16);
    assert_non_null(strstr(report.text, said));
    snprintf(said, sizeof said, "%d products in 16-bit integers\n", rows[i].int16);
    assert_int_equal(strstr(report.text, said) != NULL, bf16);
    assert_non_null(strstr(report.text, "of 2 that could be"));
    snprintf(said, sizeof said, "\"products\":\t%d,\n\t\t\"bf16\":\t%d,\n\t\t\"int16\":\t%d", rounded, rows[i].bf16,
             rows[i].int16);
    assert_non_null(strstr(report.json, said));
    mien_plan *plan = open_plan();
    assert_int_equal(plan->section_bytes[MIEN__SECTION_CONSTANTS], 64 * 96 * (8 - 2 * rounded));
    float largest = 0; /* of the weights that stay */
    for (size_t k = 0; k < plan->source->n_constants; k++)
      if (plan->tensors[k].type.dtype == MIEN_F32) largest = fmaxf(largest, fabsf(((float *)plan->tensors[k].data)[0]));
    assert_int_equal(largest > 100, rounded < 2);
    mien_plan_close(plan);
    mien_convert_report_free(env, &report);
  }
}

/* Weights that float16 cannot hold are in no integers, and are not counted as such. */
static void products_that_integers_cannot_hold(void **state) {
  (void)state;
  static float small[64 * 96], huge[64 * 96];
  for (int k = 0; k < 64 * 96; k++) small[k] = huge[k] = (float)((k * 7919 + 13) % 1009 - 504) / 4096;
  huge[0] = 1e6f;
  wire graph = {0};
  wire_message(&graph, 11, onnx_value("x", MIEN_F32, "3,64"));
  wire_message(&graph, 12, onnx_value("y", MIEN_F32, "3,96"));
  wire_message(&graph, 12, onnx_value("z", MIEN_F32, "3,96"));
  wire_message(&graph, 5, onnx_floats("small", "64,96", small, 64 * 96));
  wire_message(&graph, 5, onnx_floats("huge", "64,96", huge, 64 * 96));
  wire_message(&graph, 1, onnx_node("MatMul", "first", "x,small", "y"));
  wire_message(&graph, 1, onnx_node("MatMul", "second", "x,huge", "z"));
  const mien_convert_options options = {.precision = MIEN_PRECISION_BF16, .max_error = 1e-3, .verify = 2};
  mien_convert_report report = {0};
  converts(onnx_model(graph), &options, &report);
  assert_non_null(strstr(report.json, "\"products\":\t1,\n\t\t\"bf16\":\t0,\n\t\t\"int16\":\t1"));
  mien_plan *plan = open_plan();
  assert_int_equal(plan->section_bytes[MIEN__SECTION_CONSTANTS], 64 * 96 * 6);
  mien_plan_close(plan);
  mien_convert_report_free(env, &report);
}

static void bounds_that_cannot_be_had(void **state) {
  (void)state;
  mien_error error;
  mien_convert_report report = {0};
  mien_convert_options options = {.precision = MIEN_PRECISION_BF16, .max_error = 0.1};
  assert_int_equal(convert_with(two_products(false), &options, NULL, &error), MIEN_UNSUPPORTED);
  assert_non_null(strstr(error.message, "no output is of floats"));
  wire bad = {0};
  wire_message(&bad, 11, onnx_value("x", MIEN_F32, "N"));
  wire_message(&bad, 12, onnx_value("y", MIEN_F32, "N"));
  wire_message(&bad, 1, onnx_node("NoSuchOp", "first", "x", "y"));
  assert_int_equal(convert_with(onnx_model(bad), &options, &report, &error), MIEN_UNSUPPORTED);
  assert_non_null(strstr(report.text, "node 'first' (NoSuchOp-17)"));
  mien_convert_report_free(env, &report);
  static const double wrong[] = {-1, (double)NAN, (double)INFINITY};
  for (int i = 0; i < 3; i++) {
    options.max_error = wrong[i];
    assert_int_equal(convert_with(two_products(true), &options, NULL, &error), MIEN_INVALID_ARGUMENT);
    assert_non_null(strstr(error.message, "max_error is a number"));
  }
  options = (mien_convert_options){.max_error = 1};
  assert_int_equal(convert_with(two_products(true), &options, NULL, &error), MIEN_INVALID_ARGUMENT);
  assert_non_null(strstr(error.message, "precision is fp32"));
}

/* ---- names */

static const Mien__Plan__ValueName *name_row(const mien_plan *plan, const char *name) {
  for (size_t i = 0; i < plan->names->n_values; i++)
    if (strcmp(plan->names->values[i]->name, name) == 0) return plan->names->values[i];
  fail_msg("no row for '%s'", name);
  return NULL;
}

static void every_name_has_a_place(void **state) {
  (void)state;
  converts(onnx_model(norm_conv_graph()), NULL, NULL);
  mien_plan *plan = open_plan();
  static const char *const gone[] = {"n", "c", "gamma", "beta", "mean", "variance", "w", "m", "table", "offset"};
  for (size_t i = 0; i < sizeof gone / sizeof *gone; i++) {
    const Mien__Plan__ValueName *row = name_row(plan, gone[i]);
    if (!row->value && !row->went_into[0]) fail_msg("'%s' is nowhere", gone[i]);
  }
  assert_string_equal(name_row(plan, "m")->went_into, "t");
  assert_int_not_equal(name_row(plan, "y")->value, 0);
  assert_string_equal(name_row(plan, "unused")->went_into, "");
  assert_int_equal(name_row(plan, "unused")->value, 0);
  mien_plan_close(plan);
}

/* Equal bytes stand there once; the constants stay two. */
static void equal_bytes_once(void **state) {
  (void)state;
  float w[1000];
  for (int i = 0; i < 1000; i++) w[i] = (float)i;
  wire graph = {0};
  wire_message(&graph, 11, onnx_value("x", MIEN_F32, "1000"));
  wire_message(&graph, 12, onnx_value("y", MIEN_F32, "1000"));
  wire_message(&graph, 5, onnx_floats("first", "1000", w, 1000));
  wire_message(&graph, 5, onnx_floats("second", "1000", w, 1000));
  wire_message(&graph, 1, onnx_node("Mul", "mul", "x,first", "a"));
  wire_message(&graph, 1, onnx_node("Exp", "exp", "a", "b"));
  wire_message(&graph, 1, onnx_node("Add", "add", "b,second", "y"));
  converts(onnx_model(graph), NULL, NULL);
  mien_plan *plan = open_plan();
  assert_int_equal(plan->source->n_constants, 2);
  assert_int_equal(plan->source->constants[0]->offset, plan->source->constants[1]->offset);
  assert_true(plan->section_bytes[MIEN__SECTION_CONSTANTS] < 4100);
  assert_int_equal((uintptr_t)plan->tensors[0].data % 64, 0);
  mien_plan_close(plan);
}

/* ---- metadata */

#define PICTURE(fields) "{\"width\":8,\"height\":8,\"color\":\"RGB\",\"resize\":\"pillow-bilinear\"," fields "}"
#define NUMBERS "\"mean\":[0.5,0.5,0.5],\"std\":[0.25,0.5,1],\"scale\":255"

static wire picture_graph(const char *dims) {
  wire graph = {0};
  wire_message(&graph, 11, onnx_value("image", MIEN_F32, dims));
  wire_message(&graph, 12, onnx_value("mu", MIEN_F32, dims));
  wire_message(&graph, 12, onnx_value("logvar", MIEN_F32, dims));
  wire_message(&graph, 1, onnx_node("Relu", "a", "image", "mu"));
  wire_message(&graph, 1, onnx_node("Exp", "b", "image", "logvar"));
  return graph;
}

static wire with_metadata(wire model, const char *key, const char *value) {
  wire_message(&model, 14, onnx_pair(key, value));
  return model;
}

static void metadata_becomes_meta(void **state) {
  (void)state;
  wire model = onnx_model(picture_graph("N,3,8,8"));
  model = with_metadata(model, "mien.variant", "tiny");
  model = with_metadata(model, "mien.labels", "[\"a\",\"b\",\"c\",\"d\",\"e\",\"f\",\"g\",\"Fr\\u00f6hlichkeit\"]");
  model = with_metadata(model, "mien.picture", PICTURE(NUMBERS));
  model = with_metadata(model, "other", "ignored");
  converts(model, NULL, NULL);
  mien_plan *plan = open_plan();
  mien_picture p;
  assert_int_equal(mien_plan_picture(plan, &p, NULL), MIEN_OK);
  assert_string_equal(p.input, "image");
  assert_int_equal(p.width, 8);
  assert_string_equal(p.color, "RGB");
  assert_true(p.std[0] == 0.25f && p.std[2] == 1 && p.scale == 255);
  size_t count;
  const char *const *labels = mien_plan_labels(plan, &count);
  assert_int_equal(count, 8);
  assert_string_equal(labels[7], "Fröhlichkeit");
  assert_string_equal(plan->meta->variant, "tiny");
  assert_string_equal(plan->meta->sampling->logvar, "logvar");
  assert_int_equal(plan->meta->source_sha256.len, 32);
  mien_plan_close(plan);
}

static void wrong_metadata(void **state) {
  (void)state;
  static const struct {
    const char *key, *value, *text;
  } rows[] = {{"mien.labels", "happy", "is no JSON text"},
              {"mien.labels", "[\"a\"] trailing", "is no JSON text"},
              {"mien.labels", "{}", "is no JSON list"},
              {"mien.labels", "[]", "is no JSON list"},
              {"mien.labels", "[\"a\",2]", "item 1 is no text"},
              {"mien.labels", "[\"a\",\"b\"]", "has 2 labels, no output has so many classes"},
              {"mien.picture", "[]", "is no JSON object"},
              {"mien.picture", "{}", "'width' is wrong or missing"},
              {"mien.picture", PICTURE(NUMBERS ",\"mode\":1"), "'mode' is not known"},
              {"mien.picture", PICTURE("\"mean\":[0,0,0],\"std\":[1,0,1],\"scale\":255"), "'std' is wrong or missing"},
              {"mien.picture", PICTURE("\"mean\":[0,0],\"std\":[1,1,1],\"scale\":255"), "'mean' is wrong or missing"},
              {"mien.picture", PICTURE("\"mean\":[0,0,0],\"std\":[1,1,1],\"scale\":0"), "'scale' is wrong or missing"},
              {"mien.picture", PICTURE(NUMBERS ",\"input\":\"none\""), "no input for it"},
              {"mien.picture",
               "{\"width\":9,\"height\":8,\"color\":\"RGB\",\"resize\":\"pillow-bilinear\"," NUMBERS "}",
               "is f32[N,3,8,8]"},
              {"mien.picture", "{\"width\":8,\"height\":8,\"color\":\"RGB\",\"resize\":\"nearest\"," NUMBERS "}",
               "'resize' is wrong or missing, expected \"pillow-bilinear\""},
              {"mien.picture", "{\"width\":8.5,\"height\":8}", "'width' is wrong or missing"}};
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    mien_error error = {0};
    unlink(test_path("out.plan"));
    mien_status status = convert_with(with_metadata(onnx_model(picture_graph("N,3,8,8")), rows[i].key, rows[i].value),
                                      NULL, NULL, &error);
    if (status != MIEN_INVALID_MODEL || !strstr(error.message, rows[i].text) || !strstr(error.message, rows[i].key))
      fail_msg("row %zu: expected '%s', got %s: %s", i, rows[i].text, mien_status_name(status), error.message);
    assert_int_not_equal(access(test_path("out.plan"), F_OK), 0);
  }
  mien_error error;
  wire twice = with_metadata(with_metadata(onnx_model(picture_graph("1,3,8,8")), "mien.labels", "[\"a\"]"),
                             "mien.labels", "[\"a\"]");
  assert_int_equal(convert_with(twice, NULL, NULL, &error), MIEN_INVALID_MODEL);
  assert_non_null(strstr(error.message, "stands there twice"));
}

/* ---- failures leave things as they were */

static void failures_leave_nothing(void **state) {
  (void)state;
  mien_convert_report report;
  mien_error error;
  wire model = onnx_model(norm_conv_graph()), bad = {0};
  converts(model, NULL, NULL);
  size_t size, size_after;
  uint8_t *before = slurp("out.plan", &size);
  int count = entries();
  wire_message(&bad, 11, onnx_value("x", MIEN_F32, "N"));
  wire_message(&bad, 12, onnx_value("y", MIEN_F32, "N"));
  wire_message(&bad, 1, onnx_node("NoSuchOp", "first", "x", "a"));
  wire_message(&bad, 1, onnx_node("NorThis", "second", "a", "y"));
  assert_int_equal(convert_with(onnx_model(bad), NULL, &report, &error), MIEN_UNSUPPORTED);
  assert_non_null(strstr(report.text, "2 unsupported nodes\n  node 'first' (NoSuchOp-17): unknown operator\n"));
  assert_non_null(strstr(report.json, "\"NorThis\""));
  mien_convert_report_free(env, &report);
  assert_int_equal(entries(), count);
  static const char *const unknown[] = {"no-such-pass", NULL};
  const mien_convert_options skip = {.skip_passes = unknown};
  assert_int_equal(convert_with(model, &skip, &report, &error), MIEN_INVALID_ARGUMENT);
  assert_non_null(strstr(error.message, "no-such-pass"));
  assert_int_equal(mien_convert(env, test_path("model.onnx"), "/no/such/dir/out.plan", NULL, NULL, &error), MIEN_IO);
  assert_int_equal(mien_convert(env, test_path("none.onnx"), test_path("out.plan"), NULL, NULL, &error), MIEN_IO);
  assert_int_equal(mien_convert(env, test_path("model.onnx"), test_path("model.onnx"), NULL, NULL, &error),
                   MIEN_INVALID_ARGUMENT);
  assert_non_null(strstr(error.message, "is the model itself"));
  uint8_t *after = slurp("out.plan", &size_after);
  assert_int_equal(size, size_after);
  assert_memory_equal(before, after, size);
  assert_int_equal(entries(), count);
  mien__free(env, before);
  mien__free(env, after);
}

/* Converts; the report says why the plan has no golden values. */
static void converts_without_golden(wire model, const char *why) {
  static const char none[] = "golden     none: ";
  mien_convert_report report;
  converts(model, NULL, &report);
  const char *said = strstr(report.text, none);
  assert_non_null(said);
  assert_memory_equal(said + strlen(none), why, strlen(why));
  mien_convert_report_free(env, &report);
}

/* Indices drawn at random may all be outside: the plan is written, without golden values, and says so. */
static void models_that_no_seed_runs(void **state) {
  (void)state;
  wire graph = {0}, gather = onnx_node("Gather", "g", "x,i", "y");
  wire_message(&graph, 11, onnx_value("x", MIEN_F32, "0"));
  wire_message(&graph, 11, onnx_value("i", MIEN_I64, "4"));
  wire_message(&graph, 12, onnx_value("y", MIEN_F32, "4"));
  wire_message(&graph, 1, gather);
  converts_without_golden(onnx_model(graph), "node 'g' (Gather-");
  mien_error error;
  const mien_convert_options verify = {.verify = 1};
  assert_int_equal(convert_with(onnx_model(graph), &verify, NULL, &error), MIEN_UNSUPPORTED);
}

/* An index of the model's own that is outside is no matter of seeds. */
static void models_that_cannot_run(void **state) {
  (void)state;
  wire graph = {0}, index = onnx_tensor("i", MIEN_I64, "1");
  wire_bytes(&index, 7, "\x05", 1);
  wire_message(&graph, 5, index);
  wire_message(&graph, 11, onnx_value("x", MIEN_F32, "2"));
  wire_message(&graph, 12, onnx_value("y", MIEN_F32, "1"));
  wire_message(&graph, 1, onnx_node("Gather", "g", "x,i", "y"));
  mien_error error;
  unlink(test_path("out.plan"));
  assert_int_equal(convert_with(onnx_model(graph), NULL, NULL, &error), MIEN_INVALID_MODEL);
  assert_non_null(strstr(error.message, "index 5 is outside"));
  assert_int_not_equal(access(test_path("out.plan"), F_OK), 0);
}

/* A model whose open dimension is meant for one size, which no trial guesses: a plan without golden values. */
static void open_sizes_that_nobody_guesses(void **state) {
  (void)state;
  wire graph = {0}, shape = onnx_tensor("s", MIEN_I64, "2");
  wire_bytes(&shape, 7, "\x07\x02", 2);
  wire_message(&graph, 5, shape);
  wire_message(&graph, 11, onnx_value("x", MIEN_F32, "N,2"));
  wire_message(&graph, 12, onnx_value("y", MIEN_F32, "7,2"));
  wire_message(&graph, 1, onnx_node("Reshape", "r", "x,s", "y"));
  converts_without_golden(onnx_model(graph), "node 'r' (Reshape-");
}

/* Random scales are below zero: no golden values, but a plan. Divisors of zero: other seeds are taken. */
static void inputs_hard_to_make_up(void **state) {
  (void)state;
  wire graph = {0};
  wire_message(&graph, 11, onnx_value("x", MIEN_F32, "1,1,2,2"));
  wire_message(&graph, 11, onnx_value("scales", MIEN_F32, "4"));
  wire_message(&graph, 12, onnx_value("y", MIEN_F32, NULL));
  wire_message(&graph, 1, onnx_node("Resize", "resize", "x,,scales", "y"));
  mien_convert_report report;
  converts(onnx_model(graph), NULL, &report);
  assert_non_null(strstr(report.text, "golden     none: node 'resize' (Resize-"));
  mien_convert_report_free(env, &report);
  wire division = {0};
  wire_message(&division, 11, onnx_value("a", MIEN_I32, "2"));
  wire_message(&division, 11, onnx_value("b", MIEN_I32, "2"));
  wire_message(&division, 12, onnx_value("y", MIEN_I32, "2"));
  wire_message(&division, 1, onnx_node("Div", "div", "a,b", "y"));
  const mien_convert_options verify = {.verify = 2, .seed = 3};
  converts(onnx_model(division), &verify, &report);
  assert_non_null(strstr(report.text, "in 2 runs"));
  mien_convert_report_free(env, &report);
}

/* Sizes that are open each for itself need not be equal: 3 channels and a window of 5 pixels. */
static void sizes_hard_to_make_up(void **state) {
  (void)state;
  wire graph = {0}, conv = onnx_node("Conv", "conv", "x,w", "y");
  wire_message(&graph, 11, onnx_value("x", MIEN_F32, "n,c,h"));
  wire_message(&graph, 11, onnx_value("w", MIEN_F32, "2,3,5"));
  wire_message(&graph, 12, onnx_value("y", MIEN_F32, NULL));
  wire_message(&graph, 1, conv);
  mien_convert_report report;
  converts(onnx_model(graph), NULL, &report);
  assert_non_null(strstr(report.text, "golden     none: node 'conv' ("));
  mien_convert_report_free(env, &report);
}

static void zero_sizes_and_scalars(void **state) {
  (void)state;
  static const char *const dims[] = {"", "0", "3,0,2", "1"};
  for (size_t i = 0; i < sizeof dims / sizeof *dims; i++) {
    wire graph = {0};
    wire_message(&graph, 11, onnx_value("x", MIEN_F32, dims[i]));
    wire_message(&graph, 12, onnx_value("y", MIEN_F32, dims[i]));
    wire_message(&graph, 12, onnx_value("x", MIEN_F32, dims[i]));
    wire_message(&graph, 1, onnx_node("Add", "n", "x,x", "y"));
    const mien_convert_options verify = {.verify = 2};
    converts(onnx_model(graph), &verify, NULL);
  }
}

/* ---- no memory: allocation k fails, for all k; then everything works */

typedef struct failing {
  long calls, fail_at, live;
} failing;

static void *failing_alloc(void *context, void *pointer, size_t old_size, size_t new_size) {
  failing *f = context;
  (void)old_size;
  if (new_size == 0) {
    __atomic_fetch_sub(&f->live, pointer != NULL, __ATOMIC_RELAXED);
    free(pointer);
    return NULL;
  }
  long call = __atomic_add_fetch(&f->calls, 1, __ATOMIC_RELAXED);
  if (f->fail_at && call >= f->fail_at) return NULL;
  void *memory = realloc(pointer, new_size);
  __atomic_fetch_add(&f->live, memory && !pointer, __ATOMIC_RELAXED);
  return memory;
}

static void converts_without_memory(wire model, const mien_convert_options *convert) {
  failing f = {0};
  const mien_env_options options = {.alloc = failing_alloc, .alloc_context = &f};
  mien_env *own;
  assert_int_equal(mien_env_create(&options, &own, NULL), MIEN_OK);
  test_write("model.onnx", model.at, model.length);
  unlink(test_path("out.plan"));
  char in[256];
  snprintf(in, sizeof in, "%s", test_path("model.onnx"));
  long live = f.live, total;
  int count = entries();
  f.calls = 0;
  assert_int_equal(mien_convert(own, in, test_path("out.plan"), convert, NULL, NULL), MIEN_OK);
  total = f.calls;
  unlink(test_path("out.plan"));
  assert_int_equal(f.live, live);
  for (long k = 1; k <= total; k += k < 200 ? 1 : 7) {
    mien_error error = {0};
    mien_convert_report report;
    f.calls = 0;
    f.fail_at = k;
    mien_status status = mien_convert(own, in, test_path("out.plan"), convert, &report, &error);
    if (status != MIEN_NO_MEMORY && status != MIEN_OK) fail_msg("allocation %ld: %s", k, error.message);
    if (status == MIEN_NO_MEMORY) {
      assert_null(report.text);
      assert_int_equal(entries(), count);
    }
    mien_convert_report_free(own, &report);
    unlink(test_path("out.plan"));
    if (f.live != live) fail_msg("allocation %ld: %ld blocks are left", k, f.live - live);
  }
  f.fail_at = 0;
  assert_int_equal(mien_convert(own, in, test_path("out.plan"), convert, NULL, NULL), MIEN_OK);
  mien_env_destroy(own);
  assert_int_equal(f.live, 0);
}

static void no_memory(void **state) {
  (void)state;
  converts_without_memory(onnx_model(norm_conv_graph()), &(mien_convert_options){.verify = 1});
  converts_without_memory(two_products(true),
                          &(mien_convert_options){.precision = MIEN_PRECISION_BF16, .max_error = 1});
}

static void lists_passes(void **state) {
  (void)state;
  size_t count = 0, again;
  assert_int_equal(mien_convert_passes(env, NULL, &count, NULL), MIEN_OK);
  assert_true(count > 5);
  mien_pass_info *rows = calloc(count, sizeof *rows);
  again = count;
  assert_int_equal(mien_convert_passes(env, rows, &again, NULL), MIEN_OK);
  assert_int_equal(again, count);
  for (size_t i = 0; i < count; i++) assert_true(rows[i].name[0] && rows[i].stage[0]);
  free(rows);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(whole_way),
      cmocka_unit_test(same_bytes_every_time),
      cmocka_unit_test(recipes_run_again),
      cmocka_unit_test(precisions),
      cmocka_unit_test(halves_of_a_product),
      cmocka_unit_test(products_within_a_bound),
      cmocka_unit_test(products_that_integers_cannot_hold),
      cmocka_unit_test(bounds_that_cannot_be_had),
      cmocka_unit_test(every_name_has_a_place),
      cmocka_unit_test(equal_bytes_once),
      cmocka_unit_test(metadata_becomes_meta),
      cmocka_unit_test(wrong_metadata),
      cmocka_unit_test(failures_leave_nothing),
      cmocka_unit_test(models_that_no_seed_runs),
      cmocka_unit_test(models_that_cannot_run),
      cmocka_unit_test(open_sizes_that_nobody_guesses),
      cmocka_unit_test(inputs_hard_to_make_up),
      cmocka_unit_test(sizes_hard_to_make_up),
      cmocka_unit_test(zero_sizes_and_scalars),
      cmocka_unit_test(no_memory),
      cmocka_unit_test(lists_passes),
  };
  return cmocka_run_group_tests(tests, setup, teardown);
}
