/* example.c -- a plan, a picture, an answer: everything a program needs.
**   cc example.c $(pkg-config --cflags --libs mien) -o example
**   ./example model.plan face.jpg */
#include <mien/mien.h>

#include <stdio.h>
#include <stdlib.h>

static int fail(const char *what, const mien_error *error) {
  fprintf(stderr, "%s: %s\n", what, error->message);
  return 1;
}

int main(int argc, char **argv) {
  mien_env *env = NULL;
  mien_plan *plan = NULL;
  mien_session *session = NULL;
  mien_error error = {0};
  mien_picture contract;
  float *image = NULL, mu[16], logvar[16];
  int result = 1;
  if (argc != 3) return fprintf(stderr, "usage: %s MODEL.plan PICTURE\n", argv[0]), 2;

  if (mien_env_create(NULL, &env, &error) != MIEN_OK ||
      mien_env_load_plugins(env, mien_plugin_directory(), &error) != MIEN_OK ||
      mien_plan_open(env, argv[1], 0, &plan, &error) != MIEN_OK ||
      mien_session_create(plan, NULL, &session, &error) != MIEN_OK ||
      mien_plan_picture(plan, &contract, &error) != MIEN_OK) {
    result = fail(argv[1], &error);
    goto done;
  }
  size_t bytes = sizeof(float) * 3 * (size_t)contract.width * (size_t)contract.height;
  image = malloc(bytes);
  if (!image || mien_picture_read(env, argv[2], &contract, image, &error) != MIEN_OK) {
    result = fail(argv[2], &error);
    goto done;
  }

  mien_binding in = {.name = contract.input, .tensor = {.data = image, .bytes = bytes}};
  in.tensor.type = (mien_type){.dtype = MIEN_F32, .rank = 4, .dim = {1, 3, contract.height, contract.width}};
  mien_binding out[] = {{.name = "mu", .tensor = {.data = mu, .bytes = sizeof mu}},
                        {.name = "logvar", .tensor = {.data = logvar, .bytes = sizeof logvar}}};
  if (mien_session_run(session, &in, 1, out, 2, &error) != MIEN_OK) {
    result = fail("run", &error);
    goto done;
  }

  size_t labels, classes = (size_t)out[0].tensor.type.dim[1];
  const char *const *label = mien_plan_labels(plan, &labels);
  double p[16], sd[16];
  mien_predict_options options = {.samples = 1000, .seed = 1, .credible = 0.95};
  mien_prediction prediction = {.p = p, .sd = sd};
  if (mien_predict(env, &options, 0, classes, mu, logvar, &prediction, &error) != MIEN_OK) {
    result = fail("predict", &error);
    goto done;
  }
  for (size_t i = 0; i < classes; i++) printf("%-12s %.4f +- %.4f\n", i < labels ? label[i] : "?", p[i], sd[i]);
  result = 0;
done:
  free(image);
  mien_session_destroy(session);
  mien_plan_close(plan);
  mien_env_destroy(env);
  return result;
}
