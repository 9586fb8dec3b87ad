#include "tests/converter/onnx_writer.h"

#include <time.h>

static int setup(void **state) {
  (void)state;
  test_directory_make();
  return 0;
}

static mien_value value_named(const mien__graph *g, const char *name) {
  for (mien_value v = 0; v < g->value_count; v++)
    for (const mien__name *n = mien__value_at(g, v)->names; n; n = n->next)
      if (strcmp(n->text, name) == 0) return v;
  return MIEN_NO_VALUE;
}

static imported *good(wire model, bool infer) {
  imported *i = import_model(model, infer);
  if (i->status != MIEN_OK) fail_msg("%s", i->error.message);
  return i;
}

/* x f32[N,2] -> y, with these nodes in between. */
static wire graph_of(const wire *nodes, size_t count) {
  wire graph = {0};
  wire_message(&graph, 11, onnx_value("x", MIEN_F32, "N,2"));
  wire_message(&graph, 12, onnx_value("y", MIEN_F32, "N,2"));
  for (size_t i = 0; i < count; i++) wire_message(&graph, 1, nodes[i]);
  return graph;
}
#define GRAPH(...) graph_of((const wire[]){__VA_ARGS__}, sizeof((const wire[]){__VA_ARGS__}) / sizeof(wire))

/* ---- good models */

static void simple_model(void **state) {
  (void)state;
  wire graph = GRAPH(onnx_node("Add", "sum", "x,w", "y"));
  const float w[2] = {1, 2};
  wire_message(&graph, 5, onnx_floats("w", "2", w, 2));
  wire model = onnx_model(graph);
  wire_message(&model, 14, onnx_pair("mien.variant", "v"));
  imported *i = good(model, true);
  const mien__graph *g = i->import.graph;
  assert_int_equal(g->input_count, 1);
  assert_int_equal(g->output_count, 1);
  assert_int_equal(g->live_count, 1);
  assert_string_equal(g->producer, "test");
  assert_string_equal(g->metadata[0].value, "v");
  const mien__gvalue *constant = mien__value_at(g, value_named(g, "w"));
  assert_string_equal(constant->initializer, "w");
  assert_memory_equal(constant->v.tensor.data, w, sizeof w);
  const mien_type *y = &mien__value_at(g, g->outputs[0].value)->v.tensor.type;
  assert_int_equal(y->rank, 2);
  assert_int_equal(y->dim[0], g->inputs[0].declared.dim[0]);
  assert_true(mien_is_symbol(y->dim[0]));
  import_free(i);
}

/* Files older than IR version 4 list initializers among the inputs. */
static void initializers_that_are_inputs(void **state) {
  (void)state;
  wire graph = GRAPH(onnx_node("Add", "sum", "x,w", "y"));
  const float w[2] = {1, 2};
  wire_message(&graph, 11, onnx_value("w", MIEN_F32, "2"));
  wire_message(&graph, 5, onnx_floats("w", "2", w, 2));
  imported *i = good(onnx_model(graph), true);
  assert_int_equal(i->import.graph->input_count, 1);
  import_free(i);
}

static void any_order_of_nodes(void **state) {
  (void)state;
  wire graph = GRAPH(onnx_node("Neg", "third", "b", "y"), onnx_node("Exp", "second", "a", "b"),
                     onnx_node("Relu", "first", "x", "a"));
  imported *i = good(onnx_model(graph), true);
  mien_node_id *order;
  assert_int_equal(mien__graph_order(i->import.graph, &order, NULL), MIEN_OK);
  assert_string_equal(mien__node_at(i->import.graph, order[0])->n.name, "first");
  assert_string_equal(mien__node_at(i->import.graph, order[2])->n.name, "third");
  mien__free(i->env, order);
  import_free(i);
}

static wire constant_node(const char *output, wire attribute) {
  wire node = onnx_node("Constant", output, "", output);
  wire_message(&node, 5, attribute);
  return node;
}

static void constants(void **state) {
  (void)state;
  wire f = onnx_attr("value_float", 1), fs = onnx_attr("value_floats", 6), is = onnx_attr("value_ints", 7),
       in = onnx_attr("value_int", 2), t = onnx_attr("value", 4), s = onnx_attr("value_string", 3);
  wire_float(&f, 2, 1.5f);
  wire_float(&fs, 7, 2);
  wire_float(&fs, 7, 3);
  wire_int(&is, 8, -4);
  wire_int(&in, 3, 5);
  const float six[1] = {6};
  wire_message(&t, 5, onnx_floats(NULL, "1,1", six, 1));
  wire_text(&s, 4, "text");
  wire graph = GRAPH(constant_node("f", f), constant_node("fs", fs), constant_node("is", is), constant_node("i", in),
                     constant_node("t", t), constant_node("s", s), onnx_node("Add", "n", "x,fs", "y"));
  imported *i = good(onnx_model(graph), false);
  const mien__graph *g = i->import.graph;
  static const struct {
    const char *name;
    int dtype, rank;
    double value;
  } rows[] = {{"f", MIEN_F32, 0, 1.5},
              {"fs", MIEN_F32, 1, 2},
              {"is", MIEN_I64, 1, -4},
              {"i", MIEN_I64, 0, 5},
              {"t", MIEN_F32, 2, 6}};
  for (size_t k = 0; k < sizeof rows / sizeof *rows; k++) {
    const mien_tensor *c = &mien__value_at(g, value_named(g, rows[k].name))->v.tensor;
    assert_int_equal(c->type.dtype, rows[k].dtype);
    assert_int_equal(c->type.rank, rows[k].rank);
    assert_true(mien__tensor_f64(c, 0) == rows[k].value);
    assert_null(mien__value_at(g, value_named(g, rows[k].name))->initializer);
  }
  const mien_string *text = mien__value_at(g, value_named(g, "s"))->v.tensor.data;
  assert_memory_equal(text->data, "text", 4);
  import_free(i);
}

static void trailing_empty_inputs(void **state) {
  (void)state;
  imported *i = good(onnx_model(GRAPH(onnx_node("Clip", "n", "x,,", "y"))), true);
  assert_int_equal(mien__node_at(i->import.graph, 0)->n.in_count, 1);
  import_free(i);
}

/* A newer IR version, ai.onnx by its long name, documentation that is no UTF-8. */
static void tolerated(void **state) {
  (void)state;
  wire graph = GRAPH(onnx_node("Relu", "n", "x", "y")), model = {0};
  wire_bytes(&graph, 10, "\xff\xfe", 2);
  wire_int(&model, 1, 15);
  wire_message(&model, 7, graph);
  wire_message(&model, 8, onnx_opset("ai.onnx", 17));
  import_free(good(model, true));
}

static void outputs_that_are_inputs_or_initializers(void **state) {
  (void)state;
  wire graph = {0};
  const float w[2] = {1, 2};
  wire_message(&graph, 11, onnx_value("x", MIEN_F32, "N"));
  wire_message(&graph, 5, onnx_floats("w", "2", w, 2));
  wire_message(&graph, 12, onnx_value("x", MIEN_F32, "N"));
  wire_message(&graph, 12, onnx_value("w", MIEN_F32, "2"));
  imported *i = good(onnx_model(graph), true);
  assert_int_equal(i->import.graph->output_count, 2);
  import_free(i);
}

/* Types of attributes that old writers do not say, and zeros that proto3 writers leave out. */
static void attribute_forms(void **state) {
  (void)state;
  wire untyped = onnx_attr("axis", 0), zero = onnx_attr("axis", 2), node = onnx_node("Concat", "a", "x,x", "a"),
       other = onnx_node("Concat", "b", "a,a", "y");
  wire_int(&untyped, 3, 1);
  wire_message(&node, 5, untyped);
  wire_message(&other, 5, zero);
  imported *i = good(onnx_model(GRAPH(node, other)), true);
  assert_int_equal(mien__node_at(i->import.graph, 0)->n.attrs[0].i, 1);
  assert_int_equal(mien__node_at(i->import.graph, 1)->n.attrs[0].i, 0);
  import_free(i);
}

static void infer_fails(wire model, mien_status code, const char *text);

static void outputs_of_another_type(void **state) {
  (void)state;
  wire graph = {0};
  wire_message(&graph, 11, onnx_value("x", MIEN_F32, "2"));
  wire_message(&graph, 12, onnx_value("y", MIEN_I64, "2"));
  wire_message(&graph, 1, onnx_node("Relu", "n", "x", "y"));
  infer_fails(onnx_model(graph), MIEN_INVALID_MODEL, "output 'y' is declared as i64 but computed as f32");
}

/* Folding meets what a run would: an index of the model's own that is outside. */
static void constant_index_outside(void **state) {
  (void)state;
  wire graph = {0}, index = onnx_tensor("i", MIEN_I64, "1");
  const float w[2] = {1, 2};
  wire_bytes(&index, 7, "\x05", 1);
  wire_message(&graph, 5, index);
  wire_message(&graph, 5, onnx_floats("w", "2", w, 2));
  wire_message(&graph, 12, onnx_value("y", MIEN_F32, "1"));
  wire_message(&graph, 1, onnx_node("Gather", "n", "w,i", "y"));
  infer_fails(onnx_model(graph), MIEN_INVALID_MODEL, "index 5 is outside");
}

/* ---- functions */

static wire function_of(const char *name, const char *input, const char *output) {
  wire f = {0};
  wire_text(&f, 1, name);
  wire_text(&f, 10, "local");
  if (input) wire_text(&f, 4, input);
  wire_text(&f, 5, output);
  wire_message(&f, 9, onnx_opset("", 17));
  wire_message(&f, 9, onnx_opset("local", 1));
  return f;
}

static wire local_node(const char *op, const char *name, const char *inputs, const char *outputs) {
  wire node = onnx_node(op, name, inputs, outputs);
  wire_text(&node, 7, "local");
  return node;
}

static wire model_with_functions(wire graph, const wire *functions, size_t count) {
  wire model = onnx_model(graph);
  wire_message(&model, 8, onnx_opset("local", 1));
  for (size_t i = 0; i < count; i++) wire_message(&model, 25, functions[i]);
  return model;
}

static wire referring(wire node, const char *name, const char *to, int type) {
  wire a = onnx_attr(name, type);
  wire_text(&a, 21, to);
  wire_message(&node, 5, a);
  return node;
}

static void functions_are_inlined(void **state) {
  (void)state;
  /* outer(x) = inner(inner(x; slope); 0.5), inner(x; alpha = 0.25) = LeakyRelu(x; alpha) */
  wire inner = function_of("inner", "a", "b"), outer = function_of("outer", "a", "r");
  wire_message(&inner, 7, referring(onnx_node("LeakyRelu", "leaky", "a", "b"), "alpha", "alpha", 1));
  wire fallback = onnx_attr("alpha", 1);
  wire_float(&fallback, 2, 0.25f);
  wire_message(&inner, 11, fallback);
  wire_text(&outer, 6, "slope");
  wire_message(&outer, 7, referring(local_node("inner", "one", "a", "t"), "alpha", "slope", 1));
  wire half = local_node("inner", "two", "t", "r");
  onnx_add_float(&half, "alpha", 0.5f);
  wire_message(&outer, 7, half);
  wire call = local_node("outer", "call", "x", "m"), again = local_node("outer", "again", "m", "y");
  onnx_add_float(&call, "slope", 2);
  imported *i = good(model_with_functions(GRAPH(call, again), (const wire[]){outer, inner}, 2), true);
  const mien__graph *g = i->import.graph;
  assert_int_equal(g->live_count, 4);
  const float expected[4] = {2, 0.5f, 0.25f, 0.5f}; /* again leaves slope out: inner's own default */
  for (int k = 0; k < 4; k++) {
    assert_int_equal(mien__node_at(g, k)->n.attr_count, 1);
    assert_true(mien__node_at(g, k)->n.attrs[0].f == expected[k]);
  }
  assert_int_not_equal(value_named(g, "m/t"), MIEN_NO_VALUE);
  assert_int_not_equal(value_named(g, "y/t"), MIEN_NO_VALUE);
  assert_int_not_equal(value_named(g, "m"), MIEN_NO_VALUE);
  import_free(i);
}

static void function_outputs_that_are_inputs(void **state) {
  (void)state;
  wire same = function_of("same", "a", "a");
  imported *i = good(
      model_with_functions(GRAPH(onnx_node("Relu", "r", "m", "y"), local_node("same", "s", "x", "m")), &same, 1), true);
  assert_int_equal(i->import.graph->live_count, 2);
  import_free(i);
}

static void optional_inputs_of_functions(void **state) {
  (void)state;
  wire clip = function_of("clip", "a", "r");
  wire_text(&clip, 4, "low");
  wire_message(&clip, 7, onnx_node("Clip", "c", "a,low", "r"));
  imported *i = good(model_with_functions(GRAPH(local_node("clip", "n", "x", "y")), &clip, 1), true);
  assert_int_equal(mien__node_at(i->import.graph, 0)->n.in_count, 1);
  import_free(i);
}

/* Each function has its own versions: at opset 12 Softmax knows axis 1 as its default, at 13 the last one. */
static void functions_have_their_own_opsets(void **state) {
  (void)state;
  wire f = {0};
  wire_text(&f, 1, "old");
  wire_text(&f, 10, "local");
  wire_text(&f, 4, "a");
  wire_text(&f, 5, "r");
  wire_message(&f, 9, onnx_opset("", 12));
  wire_message(&f, 7, onnx_node("Softmax", "s", "a", "r"));
  imported *i = good(
      model_with_functions(GRAPH(local_node("old", "n", "x", "m"), onnx_node("Softmax", "t", "m", "y")), &f, 1), true);
  assert_int_equal(mien__node_at(i->import.graph, 0)->opset, 12);
  assert_int_equal(mien__node_at(i->import.graph, 1)->opset, 17);
  import_free(i);
}

/* The main graph imports its functions' domain alone. */
static void graphs_of_functions_only(void **state) {
  (void)state;
  wire f = function_of("f", "a", "r"), same = function_of("same", "a", "a"), model = {0};
  wire_message(&f, 7, onnx_node("Relu", "n", "a", "r"));
  wire_int(&model, 1, 10);
  wire_message(&model, 7, GRAPH(local_node("f", "n", "x", "m"), local_node("same", "s", "m", "y")));
  wire_message(&model, 8, onnx_opset("local", 1));
  wire_message(&model, 25, f);
  wire_message(&model, 25, same);
  imported *i = good(model, true);
  assert_int_equal(i->import.graph->live_count, 2);
  assert_int_not_equal(mien__graph_opset(i->import.graph, ""), 0);
  import_free(i);
}

static void bad_functions(void **state) {
  (void)state;
  wire self = function_of("f", "a", "r"), one = function_of("f", "a", "r"), two = function_of("g", "a", "r");
  wire_message(&self, 7, local_node("f", "again", "a", "r"));
  import_fails(model_with_functions(GRAPH(local_node("f", "n", "x", "y")), &self, 1), MIEN_INVALID_MODEL,
               "function 'f' calls itself");
  wire_message(&one, 7, local_node("g", "to_g", "a", "r"));
  wire_message(&two, 7, local_node("f", "to_f", "a", "r"));
  import_fails(model_with_functions(GRAPH(local_node("f", "n", "x", "y")), (const wire[]){one, two}, 2),
               MIEN_INVALID_MODEL, "calls itself");
  import_fails(model_with_functions(GRAPH(local_node("f", "n", "x", "y")), (const wire[]){two, two}, 2),
               MIEN_INVALID_MODEL, "function 'g' of domain 'local' is defined twice");
  wire plain = function_of("f", "a", "r");
  wire_message(&plain, 7, onnx_node("Relu", "r", "a", "r"));
  import_fails(model_with_functions(GRAPH(local_node("f", "n", "x,x", "y")), &plain, 1), MIEN_INVALID_MODEL,
               "node 'n' has 2 inputs, function 'f' takes 1");
  import_fails(model_with_functions(GRAPH(local_node("f", "n", "x", "y,z")), &plain, 1), MIEN_INVALID_MODEL,
               "has 2 outputs, function 'f' gives 1");
  wire attribute = local_node("f", "n", "x", "y");
  onnx_add_int(&attribute, "alpha", 1);
  import_fails(model_with_functions(GRAPH(attribute), &plain, 1), MIEN_INVALID_MODEL, "has no attribute 'alpha'");
  wire open = function_of("f", "a", "r");
  wire_message(&open, 7, onnx_node("Add", "r", "a,outside", "r"));
  import_fails(model_with_functions(GRAPH(local_node("f", "n", "x", "y")), &open, 1), MIEN_INVALID_MODEL,
               "function 'f': node 'y/r': value 'outside'");
  wire nothing = function_of("f", "a", "r");
  import_fails(model_with_functions(GRAPH(local_node("f", "n", "x", "y")), &nothing, 1), MIEN_INVALID_MODEL,
               "function 'f': value 'r'");
  import_fails(onnx_model(GRAPH(referring(onnx_node("LeakyRelu", "n", "x", "y"), "alpha", "a", 1))), MIEN_INVALID_MODEL,
               "reference outside a function");
}

/* f0 -> f1 -> ... a chain of calls, `last` of them. */
static wire chain(int last, int calls) {
  wire *functions = calloc((size_t)last, sizeof *functions);
  char name[32], next[32];
  for (int k = 0; k < last; k++) {
    snprintf(name, sizeof name, "f%d", k);
    snprintf(next, sizeof next, "f%d", k + 1);
    functions[k] = function_of(name, "a", "r");
    for (int c = 0; c < calls; c++) {
      char in[16], out[16];
      snprintf(in, sizeof in, c ? "t%d" : "a", c - 1);
      snprintf(out, sizeof out, c == calls - 1 ? "r" : "t%d", c);
      wire_message(&functions[k], 7, k + 1 < last ? local_node(next, "n", in, out) : onnx_node("Relu", "n", in, out));
    }
  }
  wire model = model_with_functions(GRAPH(local_node("f0", "n", "x", "y")), functions, (size_t)last);
  free(functions);
  return model;
}

static void calls_are_bounded(void **state) {
  (void)state;
  import_free(good(chain(100, 1), false));
  import_fails(chain(101, 1), MIEN_LIMIT, "more than 100 deep");
  import_fails(chain(10000, 1), MIEN_LIMIT, "more than 100 deep");
  import_fails(chain(60, 2), MIEN_LIMIT, "more than 1000000 nodes"); /* 2^60 nodes */
}

/* ---- bad models */

static void not_a_model(void **state) {
  (void)state;
  static const char html[] = "<html><body>404</body></html>", gzip[] = "\x1f\x8b\x08\x00\x00\x00\x00\x00";
  wire w = {0};
  import_fails(w, MIEN_INVALID_MODEL, "is no ONNX model: it is empty");
  wire_raw(&w, html, sizeof html - 1);
  import_fails(w, MIEN_INVALID_MODEL, "is no ONNX model");
  w = (wire){0};
  wire_raw(&w, gzip, sizeof gzip - 1);
  import_fails(w, MIEN_INVALID_MODEL, "is no ONNX model");
  w = (wire){0};
  wire_int(&w, 1, 10);
  import_fails(w, MIEN_INVALID_MODEL, "has no graph");
  wire model = onnx_model(GRAPH(onnx_node("Relu", "n", "x", "y")));
  model.length -= 3;
  import_fails(model, MIEN_INVALID_MODEL, "is no ONNX model");
  model = onnx_model(GRAPH(onnx_node("Relu", "n", "x", "y")));
  wire_int(&model, 77, 1);
  import_fails(model, MIEN_UNSUPPORTED, "field 77 of ModelProto");
}

static void files_beyond_two_gigabytes(void **state) {
  (void)state;
  FILE *f = fopen(test_path("sparse.onnx"), "wb");
  assert_non_null(f);
  assert_int_equal(ftruncate(fileno(f), (off_t)3 << 30), 0);
  fclose(f);
  mien_env *env;
  mien__import import;
  mien_error error;
  assert_int_equal(mien_env_create(NULL, &env, NULL), MIEN_OK);
  assert_int_equal(mien__import_open(&import, env, test_path("sparse.onnx"), &error), MIEN_LIMIT);
  assert_non_null(strstr(error.message, "at most 2 GiB"));
  mien__import_close(&import);
  mien_env_destroy(env);
  unlink(test_path("sparse.onnx"));
}

/* No prefix of a model crashes, and none but the whole imports. */
static void every_truncation(void **state) {
  (void)state;
  wire graph = GRAPH(onnx_node("Add", "sum", "x,w", "y"));
  const float w[2] = {1, 2};
  wire_message(&graph, 5, onnx_floats("w", "2", w, 2));
  wire model = onnx_model(graph);
  for (size_t n = 0; n < model.length; n++) {
    imported *i = import_bytes(model.at, n, true);
    assert_int_not_equal(i->status, MIEN_OK);
    assert_true(i->error.message[0]);
    import_free(i);
  }
  import_free(good(model, true));
}

static void versions(void **state) {
  (void)state;
  wire graph = GRAPH(onnx_node("Relu", "n", "x", "y")), model = {0};
  wire_int(&model, 1, 10);
  wire_message(&model, 7, graph);
  import_fails(model, MIEN_INVALID_MODEL, "no opset_import");
  static const struct {
    int64_t first, second;
    mien_status code;
    const char *text;
  } rows[] = {{0, -1, MIEN_INVALID_MODEL, "imports opset 0 of domain 'ai.onnx'"},
              {1000000000, -1, MIEN_UNSUPPORTED, "mien knows up to 28"},
              {17, 17, MIEN_INVALID_MODEL, "imports domain 'ai.onnx' twice"}};
  for (size_t k = 0; k < sizeof rows / sizeof *rows; k++) {
    wire m = {0};
    wire_int(&m, 1, 10);
    wire_message(&m, 7, graph);
    wire_message(&m, 8, onnx_opset("", rows[k].first));
    if (rows[k].second >= 0) wire_message(&m, 8, onnx_opset("ai.onnx", rows[k].second));
    import_fails(m, rows[k].code, rows[k].text);
  }
  wire absurd = {0};
  wire_int(&absurd, 1, 1000000000);
  wire_message(&absurd, 7, graph);
  wire_message(&absurd, 8, onnx_opset("", 17));
  import_fails(absurd, MIEN_INVALID_MODEL, "IR version 1000000000");
}

static void undefined_and_twice(void **state) {
  (void)state;
  import_fails(onnx_model(GRAPH(onnx_node("Add", "n", "x,none", "y"))), MIEN_INVALID_MODEL,
               "node 'n': value 'none' is no input, no initializer and no node's output");
  import_fails(onnx_model(GRAPH(onnx_node("Relu", "n", "x", "z"))), MIEN_INVALID_MODEL, "output 'y' is no input");
  import_fails(onnx_model(GRAPH(onnx_node("Relu", "a", "x", "y"), onnx_node("Exp", "b", "x", "y"))), MIEN_INVALID_MODEL,
               "node 'b': value 'y' is defined twice");
  import_fails(onnx_model(GRAPH(onnx_node("Relu", "a", "y", "x"))), MIEN_INVALID_MODEL, "'x' is defined twice");
  wire graph = GRAPH(onnx_node("Relu", "n", "x", "y"));
  const float w[1] = {1};
  wire_message(&graph, 5, onnx_floats("w", "1", w, 1));
  wire_message(&graph, 5, onnx_floats("w", "1", w, 1));
  import_fails(onnx_model(graph), MIEN_INVALID_MODEL, "initializer 'w' is defined twice");
  graph = GRAPH(onnx_node("Relu", "n", "x", "y"));
  wire_message(&graph, 11, onnx_value("x", MIEN_F32, "N"));
  import_fails(onnx_model(graph), MIEN_INVALID_MODEL, "input 'x' is defined twice");
  graph = GRAPH(onnx_node("Relu", "n", "x", "y"));
  wire_message(&graph, 12, onnx_value("y", MIEN_F32, "N"));
  import_fails(onnx_model(graph), MIEN_INVALID_MODEL, "output 'y' is listed twice");
  wire nameless = {0};
  wire_message(&nameless, 11, onnx_value("x", MIEN_F32, "N"));
  import_fails(onnx_model(nameless), MIEN_INVALID_MODEL, "the graph has no outputs");
}

static void infer_fails(wire model, mien_status code, const char *text) {
  imported *i = import_model(model, true);
  if (i->status != code || !strstr(i->error.message, text))
    fail_msg("expected %s with '%s', got %s: %s", mien_status_name(code), text, mien_status_name(i->status),
             i->error.message);
  import_free(i);
}

static void cycles(void **state) {
  (void)state;
  infer_fails(onnx_model(GRAPH(onnx_node("Relu", "own", "y", "y"))), MIEN_INVALID_MODEL, "'own'");
  infer_fails(onnx_model(GRAPH(onnx_node("Add", "a", "x,c", "b"), onnx_node("Relu", "b", "b", "y"),
                               onnx_node("Exp", "c", "y", "c"))),
              MIEN_INVALID_MODEL, "cycle of 3 nodes");
}

static void bad_types(void **state) {
  (void)state;
  static const struct {
    int dtype;
    const char *dims;
    mien_status code;
    const char *text;
  } rows[] = {
      {MIEN_F32, "-1,2", MIEN_INVALID_MODEL, "input 'z': dimension 0 is -1"},
      {99, "1", MIEN_UNSUPPORTED, "element type 99"},
      {0, "1", MIEN_INVALID_MODEL, "input 'z' has no element type"},
      {MIEN_F32, "N,2,9223372036854775807", MIEN_LIMIT, "input 'z': a tensor of type f32[?,2,9223372036854775807]"},
      {MIEN_F32, "0,4294967296,4294967296", MIEN_LIMIT, "exceeds the limit"},
      {MIEN_F32, "1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1", MIEN_LIMIT, "rank 17"}};
  for (size_t k = 0; k < sizeof rows / sizeof *rows; k++) {
    wire graph = GRAPH(onnx_node("Relu", "n", "x", "y"));
    wire_message(&graph, 11, onnx_value("z", rows[k].dtype, rows[k].dims));
    import_fails(onnx_model(graph), rows[k].code, rows[k].text);
  }
  wire sequence = {0}, type = {0}, value = {0}, graph = GRAPH(onnx_node("Relu", "n", "x", "y"));
  wire_message(&sequence, 1, onnx_type(MIEN_F32, NULL));
  wire_message(&type, 4, sequence);
  wire_text(&value, 1, "s");
  wire_message(&value, 2, type);
  wire_message(&graph, 11, value);
  import_fails(onnx_model(graph), MIEN_UNSUPPORTED, "input 's' is a sequence");
}

static void bad_attributes(void **state) {
  (void)state;
  wire wrong = onnx_attr("alpha", 2), two = onnx_attr("alpha", 1), none = onnx_attr("t", 4),
       odd = onnx_attr("alpha", 99), nameless = {0};
  wire_text(&wrong, 4, "text");
  wire_float(&two, 2, 1);
  wire_int(&two, 3, 1);
  wire_int(&nameless, 3, 1);
  const struct {
    wire attribute;
    const char *text;
  } rows[] = {{wrong, "has type int but a value of type string"},
              {two, "has type float but a value of type int"},
              {none, "attribute 't' has no value"},
              {odd, "has type 99"},
              {nameless, "an attribute without a name"}};
  for (size_t k = 0; k < sizeof rows / sizeof *rows; k++) {
    wire node = onnx_node("LeakyRelu", "n", "x", "y");
    wire_message(&node, 5, rows[k].attribute);
    import_fails(onnx_model(GRAPH(node)), MIEN_INVALID_MODEL, rows[k].text);
  }
  wire twice = onnx_node("LeakyRelu", "n", "x", "y"), unknown = onnx_node("LeakyRelu", "n", "x", "y");
  onnx_add_float(&twice, "alpha", 1);
  onnx_add_float(&twice, "alpha", 2);
  import_fails(onnx_model(GRAPH(twice)), MIEN_INVALID_MODEL, "has attribute 'alpha' twice");
  onnx_add_float(&unknown, "beta", 1);
  import_fails(onnx_model(GRAPH(unknown)), MIEN_INVALID_MODEL, "attribute 'beta'");
  wire many = onnx_node("LeakyRelu", "n", "x", "y");
  for (int k = 0; k < 300; k++) onnx_add_float(&many, "alpha", 1);
  import_fails(onnx_model(GRAPH(many)), MIEN_LIMIT, "300 attributes");
}

static void unsupported_nodes_all_at_once(void **state) {
  (void)state;
  wire branch = onnx_attr("then_branch", 5), conditional = onnx_node("If", "choice", "x", "c"),
       foreign = onnx_node("Thing", "foreign", "c", "d"), newer = onnx_node("Gelu", "newer", "d", "e");
  wire_message(&branch, 6, (wire){0});
  wire_message(&conditional, 5, branch);
  wire_text(&foreign, 7, "com.example");
  imported *i = import_model(onnx_model(GRAPH(conditional, foreign, newer, onnx_node("NoSuchOp", "odd", "e", "f"),
                                              onnx_node("Relu", "n", "f", "y"))),
                             false);
  assert_int_equal(i->status, MIEN_UNSUPPORTED);
  assert_int_equal(i->import.unsupported_count, 4);
  static const char *const rows[][3] = {{"choice", "If", "operators with subgraphs are not supported"},
                                        {"foreign", "com.example.Thing", "the model imports no opset of its domain"},
                                        {"newer", "Gelu", "known at opset from 20"},
                                        {"odd", "NoSuchOp", "unknown operator"}};
  const mien__unsupported *u = i->import.unsupported;
  for (size_t k = 0; k < 4; k++, u = u->next) {
    assert_string_equal(u->node, rows[k][0]);
    assert_string_equal(u->op, rows[k][1]);
    assert_string_equal(u->reason, rows[k][2]);
  }
  assert_non_null(strstr(i->error.message, "4 unsupported nodes: node 'choice' (If-17): "));
  import_free(i);
}

static void unsupported_types_all_at_once(void **state) {
  (void)state;
  wire graph = {0};
  wire_message(&graph, 11, onnx_value("x", MIEN_C128, "2"));
  wire_message(&graph, 12, onnx_value("y", MIEN_C128, "2"));
  wire_message(&graph, 12, onnx_value("z", MIEN_C128, "2"));
  wire_message(&graph, 1, onnx_node("Relu", "one", "x", "y"));
  wire_message(&graph, 1, onnx_node("Sigmoid", "two", "x", "z"));
  imported *i = import_model(onnx_model(graph), true);
  assert_int_equal(i->status, MIEN_UNSUPPORTED);
  assert_int_equal(i->import.unsupported_count, 2);
  assert_non_null(strstr(i->error.message, "node 'one' (Relu-17)"));
  assert_non_null(strstr(i->error.message, "node 'two' (Sigmoid-17)"));
  import_free(i);
}

static void sparse_is_refused(void **state) {
  (void)state;
  wire graph = GRAPH(onnx_node("Relu", "n", "x", "y")), sparse = {0};
  wire_message(&sparse, 1, onnx_tensor("s", MIEN_F32, "0"));
  wire_message(&graph, 15, sparse);
  import_fails(onnx_model(graph), MIEN_UNSUPPORTED, "initializer 's' is sparse");
  wire a = onnx_attr("sparse_value", 11);
  wire_message(&a, 22, sparse);
  import_fails(onnx_model(GRAPH(constant_node("c", a), onnx_node("Add", "n", "x,c", "y"))), MIEN_UNSUPPORTED,
               "sparse tensors are not supported");
}

/* Of this process: other work on the machine does not count. */
static double seconds(void) {
  struct timespec t;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Large nonsense is refused at once. */
static void large_nonsense(void **state) {
  (void)state;
  static const uint32_t fields[] = {1, 5, 11, 13, 16};
  for (size_t k = 0; k < sizeof fields / sizeof *fields; k++) {
    wire graph = {0};
    for (int i = 0; i < 1000000; i++) wire_bytes(&graph, fields[k], "", 0);
    double start = seconds();
    imported *i = import_model(onnx_model(graph), true);
    if (i->status == MIEN_OK) fail_msg("a million of field %u imported", fields[k]);
    assert_true(seconds() - start < 2);
    import_free(i);
  }
  wire unknown = onnx_model(GRAPH(onnx_node("Relu", "n", "x", "y")));
  for (int i = 0; i < 1000000; i++) wire_int(&unknown, 1000, 1);
  import_fails(unknown, MIEN_UNSUPPORTED, "field 1000");
  wire dims = {0}, graph = {0};
  uint8_t *zeros = calloc(1, 1000000);
  wire_bytes(&dims, 1, zeros, 1000000);
  wire_int(&dims, 2, 1);
  wire_text(&dims, 8, "w");
  wire_message(&graph, 5, dims);
  import_fails(onnx_model(graph), MIEN_LIMIT, "rank 1000000");
  free(zeros);
}

/* No recursion on data: a chain of 10^5 nodes, backwards, and one node of 10^5 inputs. */
static void long_graphs(void **state) {
  (void)state;
  wire graph = GRAPH(onnx_node("Relu", "last", "v100000", "y"));
  for (int k = 100000; k > 0; k--) {
    char in[16], out[16];
    snprintf(in, sizeof in, k > 1 ? "v%d" : "x", k - 1);
    snprintf(out, sizeof out, "v%d", k);
    wire_message(&graph, 1, onnx_node("Relu", out, in, out));
  }
  double start = seconds();
  imported *i = good(onnx_model(graph), true);
  assert_int_equal(i->import.graph->live_count, 100001);
  assert_true(seconds() - start < 5);
  import_free(i);
  char *inputs = malloc(300000);
  size_t used = 0;
  for (int k = 0; k < 100000; k++) used += (size_t)sprintf(inputs + used, k ? ",x" : "x");
  import_free(good(onnx_model(GRAPH(onnx_node("Sum", "wide", inputs, "y"))), true));
  free(inputs);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(simple_model),
      cmocka_unit_test(initializers_that_are_inputs),
      cmocka_unit_test(any_order_of_nodes),
      cmocka_unit_test(constants),
      cmocka_unit_test(trailing_empty_inputs),
      cmocka_unit_test(tolerated),
      cmocka_unit_test(outputs_that_are_inputs_or_initializers),
      cmocka_unit_test(attribute_forms),
      cmocka_unit_test(outputs_of_another_type),
      cmocka_unit_test(constant_index_outside),
      cmocka_unit_test(functions_are_inlined),
      cmocka_unit_test(function_outputs_that_are_inputs),
      cmocka_unit_test(optional_inputs_of_functions),
      cmocka_unit_test(functions_have_their_own_opsets),
      cmocka_unit_test(graphs_of_functions_only),
      cmocka_unit_test(bad_functions),
      cmocka_unit_test(calls_are_bounded),
      cmocka_unit_test(not_a_model),
      cmocka_unit_test(files_beyond_two_gigabytes),
      cmocka_unit_test(every_truncation),
      cmocka_unit_test(versions),
      cmocka_unit_test(undefined_and_twice),
      cmocka_unit_test(cycles),
      cmocka_unit_test(bad_types),
      cmocka_unit_test(bad_attributes),
      cmocka_unit_test(unsupported_nodes_all_at_once),
      cmocka_unit_test(unsupported_types_all_at_once),
      cmocka_unit_test(sparse_is_refused),
      cmocka_unit_test(large_nonsense),
      cmocka_unit_test(long_graphs),
  };
  return cmocka_run_group_tests(tests, setup, test_directory_remove);
}
